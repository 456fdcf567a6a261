// One task: figures, charts, collections, channels, events, and its actions.

const KINDS = {
  state: "still",
  phase: "still",
  retry: "warn",
  recovered: "good",
  copy: "busy",
  gap: "bad",
  skip: "warn",
  catalog: "still",
};

const ROWS_FROM = { log: "the log", copy: "a copy", scan: "scans" };

const PAUSE_MEANS = [
  "The target stays as it is and receives no more changes; it can be read and written.",
  "The source keeps its log for a limited time. A longer pause loses nothing, but everything is then copied again.",
];
const RESUME_MEANS = [
  "The task goes on where it stopped. Until it has caught up the target shows an older state of the source.",
];
const WISH_MEANS = {
  pause: ["Nothing of this collection is changed or dropped on the target until it is resumed. The others go on."],
  resume: ["The collection goes on: what it missed is compared with the source."],
  resync: ["All rows of this collection are compared with the source's, and what differs is written."],
};
const DELETE_MEANS = [
  "The task and its positions are removed. This cannot be undone.",
  "Both servers keep all their data. The target receives no more changes.",
  "A new task to this target starts from the beginning: it adopts the existing collections and will not drop them.",
];

class Detail {
  constructor() {
    this.place = $("detail");
    this.id = null;
  }
  /** Opens the parts for another task; `null` closes them. */
  open(id) {
    if (id === this.id) return;
    this.id = id;
    this.place.hidden = id === null;
    $("columns").classList.toggle("open", id !== null);
    if (id === null) return this.place.replaceChildren();
    const made = () => el("div");
    this.parts = Object.fromEntries(
      ["head", "figures", "note", "drops", "role", "charts", "collections", "channels", "events"].map((name) => [
        name,
        new Part(made()),
      ]),
    );
    this.parts.figures.place.className = "figures";
    this.parts.charts.place.className = "charts";
    this.toggle = el("button", { type: "button", onclick: () => this.pauseOrResume() }, "Pause");
    this.remove = el("button", { type: "button", class: "danger", onclick: () => this.delete() }, "Delete");
    const back = el("button", { type: "button", class: "ghost back", onclick: () => (location.hash = "#") }, "← Tasks");
    const head = el(
      "div",
      { class: "head" },
      back,
      this.parts.head.place,
      el("span", { class: "grow" }),
      this.toggle,
      this.remove,
    );
    const { figures, note: said, drops, role, charts, collections, channels, events } = this.parts;
    const card = (...inside) => el("div", { class: "card" }, ...inside);
    this.dropsCard = card(drops.place);
    this.dropsCard.hidden = true;
    this.roleCard = card(role.place);
    this.roleCard.hidden = true;
    this.place.replaceChildren(
      card(head, said.place, figures.place),
      this.dropsCard,
      this.roleCard,
      card(charts.place),
      card(collections.place),
      card(channels.place),
      card(events.place),
    );
    this.parts.head.place.style.cssText = "display:contents";
  }
  show(task, dropped) {
    this.task = task;
    this.parts.drops.show([task.task_id, dropped], () => dropsTable(task.task_id, dropped));
    this.dropsCard.hidden = dropped.drops.length + dropped.set_aside.length === 0;
    this.parts.role.show([task.task_id, task.role ?? null, task.phase], () => rolePart(task));
    this.roleCard.hidden = !hasRolePart(task);
    this.toggle.hidden = roleOf(task) !== "forward";
    const { details, events } = task;
    const { head, figures, note: said, charts, collections, channels, events: log } = this.parts;
    this.toggle.textContent = task.state === "Paused" ? "Resume" : "Pause";
    head.show([task.task_id, task.phase], () => [el("h2", {}, task.task_id), pill(task)]);
    said.show([task.phase, task.reason, details.copies], () =>
      [note(task), ...details.copies.map(copyBar)].filter(Boolean),
    );
    const skipped = Object.entries(task.skipped);
    const { queue_bytes: queued, queue_limit_bytes: limit } = details;
    const filled = limit ? `${Math.round((100 * queued) / limit)} % of ${bytes(limit)}` : "–";
    const stages = Object.entries(task.collections ?? {}).filter(([, count]) => count);
    const facts = [
      ["Lag", lagText(task)],
      ["Rows/s", number(details.rows_per_second)],
      ["Queue", filled],
      ["Checkpoint", details.checkpoint_age_ms === null ? "–" : ago(details.checkpoint_age_ms)],
      ["Clock skew", details.clock_skew_ms === null ? "–" : `${details.clock_skew_ms} ms`],
      ["Not carried over", skipped.length ? number(skipped.reduce((sum, [, count]) => sum + count, 0)) : "nothing"],
      ["Replicates from", task.source === "here" ? "the source" : `the peer ${task.source}`],
      ["Source's log", task.source_log?.kind ?? "–"],
    ];
    const lines = [
      ["Follows", followsOf(task)],
      ["Target", targetOf(task)],
      ...serverOf("Source", details.servers.source),
      ...serverOf("Target", details.servers.target),
      ...(stages.length ? [["Collections", stages.map(([stage, count]) => `${count} ${stage}`).join(", ")]] : []),
      ...skipped.map(([why, count]) => ["Not carried over", `${why}: ${number(count)}`]),
    ];
    figures.show([facts, lines], () => [
      ...facts.map(([name, value]) => figure(name, value)),
      el(
        "div",
        { class: "muted", style: "grid-column:1/-1" },
        ...lines.map(([name, text]) => el("div", {}, `${name}: `, el("code", {}, text))),
      ),
    ]);
    charts.show([details.lag_curve, Math.floor(Date.now() / details.lag_curve.slot_ms)], () => [
      chart("Lag", details, "lag"),
      chart("Rows per second", details, "rows"),
    ]);
    collections.show(details.collections, () =>
      table(
        `Collections (${details.collections.length})`,
        ["At the source", "On the target", "Rows come from", "State", ""],
        details.collections.map((one) => [
          one.source ?? `id ${one.id}`,
          one.target ?? "–",
          ROWS_FROM[one.rows_from] ?? "–",
          el("span", { title: one.held?.reason }, one.state),
          this.wishes(one),
        ]),
        task.state === "Paused" ? "Shown while the task runs." : "None yet.",
      ),
    );
    const behind = (one) => duration(Math.max(0, Math.floor((Date.now() - one.acknowledged_time) / 1000) * 1000));
    const rows = details.channels.map((one) => [
      one.name,
      number(one.collections),
      one.acknowledged_time ? clock(one.acknowledged_time) : "–",
      one.acknowledged_time ? behind(one) : "–",
    ]);
    channels.show(rows, () =>
      table(
        `Channels of the source's log (${rows.length})`,
        ["Channel", "Collections", "Applied up to", "Behind"],
        rows,
        "None yet.",
      ),
    );
    log.show(events, () => eventTable(events));
  }
  /** The buttons for one collection. */
  wishes({ source, state }) {
    if (!source) return "";
    const button = (type, name) =>
      el("button", { type: "button", class: "ghost", onclick: () => this.wish(type, name, source) }, name);
    if (state === "paused") return [button("resume", "Resume")];
    const pause = button("pause", "Pause");
    return state === "held" ? [button("resume", "Try again"), pause] : [pause, button("resync", "Compare")];
  }
  async wish(type, name, collection) {
    const id = this.task.task_id;
    if (!(await confirmed(`${name}: ${collection}?`, name, false, ...explained(WISH_MEANS[type])))) return;
    await act(type, id, `${collection}: asked for`, { collection });
  }
  async pauseOrResume() {
    const { task_id: id, state } = this.task;
    const pausing = state !== "Paused";
    const [title, means] = pausing ? [`Pause ${id}?`, PAUSE_MEANS] : [`Resume ${id}?`, RESUME_MEANS];
    if (await confirmed(title, pausing ? "Pause" : "Resume", false, ...explained(means)))
      await act(pausing ? "pause" : "resume", id, pausing ? "paused" : "runs again");
  }
  async delete() {
    const id = this.task.task_id;
    if (!(await confirmed(`Delete ${id}?`, "Delete the task", true, ...explained(DELETE_MEANS)))) return;
    if (await act("delete", id, "deleted")) location.hash = "#";
  }
}

const explained = (means) => [el("ul", {}, ...means.map((text) => el("li", {}, text)))];

function table(title, heads, rows, empty) {
  if (rows.length === 0) return [el("h3", {}, title), el("p", { class: "muted" }, empty)];
  const head = el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, ...[cell].flat()))));
  return [
    el("h3", {}, title),
    el(
      "div",
      { class: "scroll", tabIndex: 0, role: "region", "aria-label": title },
      el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)),
    ),
  ];
}

function eventTable(events) {
  const row = (event) =>
    el(
      "tr",
      {},
      el("td", { class: "time" }, clock(event.time)),
      el("td", {}, el("span", { class: `pill ${KINDS[event.kind] ?? "still"}` }, event.kind)),
      el(
        "td",
        {},
        event.text,
        event.count > 1
          ? el("span", { class: "muted" }, ` · ${number(event.count)} times since ${clock(event.first_time)}`)
          : "",
      ),
    );
  const shown = events.length
    ? [
        el(
          "div",
          { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Events" },
          el("table", {}, el("tbody", {}, ...events.map(row))),
        ),
      ]
    : [el("p", { class: "muted" }, "None yet.")];
  return [el("h3", {}, "Last events"), ...shown];
}
