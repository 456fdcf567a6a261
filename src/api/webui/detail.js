// One task: figures, charts, collections, channels, events, and what can be done to it.

const KINDS = { state: "still", phase: "still", retry: "warn", recovered: "good", copy: "busy", gap: "bad", skip: "warn", catalog: "still" };

const ROWS_FROM = { log: "the log", copy: "a copy", scan: "scans" };

const PAUSE_MEANS = [
  "The target stays as it is and gets no more changes; it can be read and written.",
  "The source keeps its log for a limited time only. A pause that is longer than that loses nothing, but everything is copied again afterwards.",
];
const RESUME_MEANS = ["The task goes on where it stopped. Until it has caught up the target shows an older state of the source."];
const DELETE_MEANS = [
  "The task and the place it has come to are forgotten. This cannot be undone.",
  "Both servers keep all their data. The target gets no more changes.",
  "A new task to this target begins anew: it takes over the collections that are there, and will not drop them.",
];

class Detail {
  constructor() {
    this.place = $("detail");
    this.id = null;
  }
  /** Parts for another task; `null` closes. */
  open(id) {
    if (id === this.id) return;
    this.id = id;
    this.place.hidden = id === null;
    $("columns").classList.toggle("open", id !== null);
    if (id === null) return this.place.replaceChildren();
    const made = () => el("div");
    this.parts = Object.fromEntries(["head", "figures", "note", "charts", "collections", "channels", "events"].map((name) => [name, new Part(made())]));
    this.parts.figures.place.className = "figures";
    this.parts.charts.place.className = "charts";
    this.toggle = el("button", { type: "button", onclick: () => this.pauseOrResume() }, "Pause");
    this.remove = el("button", { type: "button", class: "danger", onclick: () => this.delete() }, "Delete");
    const back = el("button", { type: "button", class: "ghost back", onclick: () => (location.hash = "#") }, "← Tasks");
    const head = el("div", { class: "head" }, back, this.parts.head.place, el("span", { class: "grow" }), this.toggle, this.remove);
    const { figures, note: said, charts, collections, channels, events } = this.parts;
    const card = (...inside) => el("div", { class: "card" }, ...inside);
    this.place.replaceChildren(card(head, said.place, figures.place), card(charts.place), card(collections.place), card(channels.place), card(events.place));
    this.parts.head.place.style.cssText = "display:contents";
  }
  show(task) {
    this.task = task;
    const { details, events } = task;
    const { head, figures, note: said, charts, collections, channels, events: log } = this.parts;
    this.toggle.textContent = task.state === "Paused" ? "Resume" : "Pause";
    head.show([task.task_id, task.phase], () => [el("h2", {}, task.task_id), pill(task)]);
    said.show([task.phase, task.reason, details.copies], () => [note(task), ...details.copies.map(copyBar)].filter(Boolean));
    const skipped = Object.entries(task.skipped);
    const filled = details.queue_limit_bytes ? `${Math.round((100 * details.queue_bytes) / details.queue_limit_bytes)} % of ${bytes(details.queue_limit_bytes)}` : "–";
    const facts = [["Lag", lagText(task)], ["Rows/s", number(details.rows_per_second)], ["Queue", filled],
      ["Checkpoint", details.checkpoint_age_ms === null ? "–" : ago(details.checkpoint_age_ms)],
      ["Not carried over", skipped.length ? number(skipped.reduce((sum, [, count]) => sum + count, 0)) : "nothing"], ["Source's log", task.source_log?.kind ?? "–"]];
    const lines = [["Follows", followsOf(task)], ["Target", targetOf(task)], ...skipped.map(([why, count]) => ["Not carried over", `${why}: ${number(count)}`])];
    figures.show([facts, lines], () => [...facts.map(([name, value]) => figure(name, value)),
      el("div", { class: "muted", style: "grid-column:1/-1" }, ...lines.map(([name, text]) => el("div", {}, `${name}: `, el("code", {}, text))))]);
    charts.show([details.lag_curve, Math.floor(Date.now() / details.lag_curve.slot_ms)], () => [chart("Lag", details, "lag"), chart("Rows per second", details, "rows")]);
    collections.show(details.collections, () => table(`Collections (${details.collections.length})`, ["At the source", "On the target", "Rows come from"],
      details.collections.map((one) => [one.source ?? `id ${one.id}`, one.target ?? "–", ROWS_FROM[one.rows_from]]), task.state === "Paused" ? "Shown while the task runs." : "None yet."));
    const behind = (one) => duration(Math.max(0, Math.floor((Date.now() - one.acknowledged_time) / 1000) * 1000));
    const rows = details.channels.map((one) => [one.name, number(one.collections), one.acknowledged_time ? clock(one.acknowledged_time) : "–", one.acknowledged_time ? behind(one) : "–"]);
    channels.show(rows, () => table(`Channels of the source's log (${rows.length})`, ["Channel", "Collections", "Applied up to", "Behind"], rows, "None yet."));
    log.show(events, () => eventTable(events));
  }
  async pauseOrResume() {
    const { task_id: id, state } = this.task;
    const pausing = state !== "Paused";
    const [title, means] = pausing ? [`Pause ${id}?`, PAUSE_MEANS] : [`Resume ${id}?`, RESUME_MEANS];
    if (await confirmed(title, pausing ? "Pause" : "Resume", false, ...explained(means))) await act(pausing ? "pause" : "resume", id, pausing ? "paused" : "runs again");
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
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))));
  return [el("h3", {}, title), el("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": title }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)))];
}

function eventTable(events) {
  const row = (event) => el("tr", {}, el("td", { class: "time" }, clock(event.time)), el("td", {}, el("span", { class: `pill ${KINDS[event.kind] ?? "still"}` }, event.kind)),
    el("td", {}, event.text, event.count > 1 ? el("span", { class: "muted" }, ` · ${number(event.count)} times since ${clock(event.first_time)}`) : ""));
  const shown = events.length ? [el("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Events" }, el("table", {}, el("tbody", {}, ...events.map(row))))] : [el("p", { class: "muted" }, "None yet.")];
  return [el("h3", {}, "Last events"), ...shown];
}
