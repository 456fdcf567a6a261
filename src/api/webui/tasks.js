// The list of tasks, and the totals of all tasks.

/** A part of the page that is replaced only when its value changes, so that focus, selection and scrolling stay. */
class Part {
  constructor(place) {
    this.place = place;
    this.shown = undefined;
  }
  show(value, ...make) {
    const now = JSON.stringify(value);
    if (now === this.shown) return;
    this.shown = now;
    this.place.replaceChildren(...make.map((one) => one()).flat());
  }
}

function note(task) {
  const { tone, todo } = phaseOf(task);
  if (!task.reason || task.phase === "Following") return null;
  // A running copy shows its progress bar instead.
  if (task.phase === "Copying" && !task.details.copies.some((copy) => copy.waiting)) return null;
  return el(
    "div",
    { class: `note ${tone}`, role: task.phase === "Stopped" ? "alert" : undefined },
    el("b", {}, task.reason),
    el("span", {}, todo),
  );
}

function copyBar(copy) {
  const share = copy.total ? Math.min(1, copy.rows / copy.total) : 0;
  const said = copy.waiting
    ? "waiting"
    : copy.total
      ? `${number(copy.rows)} of ${number(copy.total)} rows · ${Math.floor(share * 100)} %`
      : `${number(copy.rows)} rows`;
  const bar = el("progress", { max: 1, "aria-label": `Copying ${copy.collection}` });
  if (copy.total || copy.waiting) bar.value = share;
  return el(
    "div",
    { class: "progress" },
    el("div", {}, el("span", {}, `Copying ${copy.collection}`), el("span", {}, said)),
    bar,
    copy.waiting ? el("div", { class: "muted" }, copy.waiting) : null,
  );
}

const figure = (label, value) => el("div", { class: "figure" }, el("small", {}, label), el("b", {}, value));

/** One task in the list; a link, so that keyboard, history and new tabs work. */
class Row {
  constructor(id) {
    this.node = el("a", { class: "card task", href: `#task/${encodeURIComponent(id)}` });
    this.part = new Part(this.node);
  }
  show(task, current) {
    this.node.setAttribute("aria-current", String(current));
    const value = { ...task, slot: Math.floor(Date.now() / task.details.lag_curve.slot_ms) };
    this.part.show(value, () =>
      [
        el(
          "div",
          { class: "top" },
          el(
            "div",
            { class: "who" },
            el("div", {}, el("b", {}, task.task_id), " ", pill(task)),
            el("div", { class: "where" }, `${followsOf(task)} → ${targetOf(task)}`),
          ),
          smallCurve(task.details),
          figure("Lag", lagText(task)),
          figure("Rows/s", number(task.details.rows_per_second)),
        ),
        note(task),
        ...task.details.copies.slice(0, 3).map(copyBar),
      ].filter(Boolean),
    );
  }
}

class List {
  constructor() {
    this.rows = new Map();
    this.empty = el(
      "div",
      { class: "card empty" },
      el("h2", {}, "No tasks yet"),
      el("p", {}, "A task replicates this server's source to another Milvus."),
      el("button", { class: "primary", type: "button", onclick: () => openCreate() }, "Create the first one"),
    );
  }
  show(tasks, current) {
    const place = $("list");
    for (const [id, row] of this.rows) {
      if (!tasks.some((task) => task.task_id === id)) {
        row.node.remove();
        this.rows.delete(id);
      }
    }
    this.empty.remove();
    if (tasks.length === 0) place.append(this.empty);
    tasks.forEach((task, index) => {
      const row = this.rows.get(task.task_id) ?? new Row(task.task_id);
      this.rows.set(task.task_id, row);
      if (place.children[index] !== row.node) place.insertBefore(row.node, place.children[index] ?? null);
      row.show(task, task.task_id === current);
    });
    this.totals(tasks);
  }
  totals(tasks) {
    this.sum ??= new Part($("totals"));
    const lags = tasks.map((task) => task.lag_ms).filter((lag) => lag !== null && lag !== 0);
    const bad = tasks.filter((task) => ["Stopped", "Retrying"].includes(task.phase)).length;
    const shown = [
      ["Tasks", number(tasks.length), `${tasks.filter((task) => task.phase === "Following").length} following`],
      ["In trouble", number(bad), bad ? "stopped or retrying" : "none stopped, none retrying"],
      ["Largest lag", lags.length ? duration(Math.max(...lags)) : "–", "of the tasks that run"],
      [
        "Rows per second",
        number(tasks.reduce((sum, task) => sum + task.details.rows_per_second, 0)),
        "arriving at all targets",
      ],
    ];
    $("totals").hidden = tasks.length === 0;
    this.sum.show(shown, () =>
      shown.map(([name, value, more]) =>
        el(
          "div",
          { class: "card number" },
          el("small", {}, name),
          el("b", {}, value),
          " ",
          el("div", {}, el("span", {}, more)),
        ),
      ),
    );
  }
}
