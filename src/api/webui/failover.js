// The part that a task's sites play: offered to be changed while the source fails, and shown once it has changed.

const FAILOVER_MEANS = [
  "What the source's log still holds is applied, and then nothing of the source any more, whatever comes back.",
  "The server refuses while the source answers.",
  "Once the log has been read to its end this cannot be undone.",
];
const FORCE_MEANS = [
  "What the log may still hold is given up where it cannot be read, and what the source still writes is left out.",
  "This cannot be undone.",
];
const CANCEL_MEANS = ["The task follows the source again."];
const LIST_MEANS = [
  "What the old primary wrote that never got across is listed by key; nothing is changed at either server.",
  "The task's reason says what was found. The rows themselves: milvus-cdc failback ID --dry-run --export FILE.",
];
const MERGE_MEANS = [
  "Lost rows whose keys were new, and that the target lacks, are written to it. This cannot be undone.",
  "Where the target has another row of the key, or may have deleted it, its own row counts.",
];
const DISCARD_LOST_MEANS = [
  "The target's rows count. What is lost stays at the old primary, as long as its log has it.",
];
const CANCEL_FAILBACK_MEANS = ["Nothing has been changed so far, and nothing will be."];

const roleOf = (task) => task.role?.state ?? "forward";
/** Nothing to say while a task connects, copies or rests. */
const hasRolePart = (task) => roleOf(task) !== "forward" || ["Following", "Retrying", "Stopped"].includes(task.phase);

async function failOver(id, title, means, more) {
  if (await confirmed(title, title, more.action !== "cancel", ...explained(means)))
    await act("failover", id, "asked for", more);
}

async function failBack(id, title, means, more) {
  if (await confirmed(title, title, more.lost_writes === "merge", ...explained(means)))
    await act("failback", id, "asked for", more);
}

function failbackPart(id, isUnderWay) {
  const button = (title, tone, means, more) =>
    el("button", { type: "button", class: tone, onclick: () => failBack(id, title, means, more) }, title);
  const made = isUnderWay
    ? [button("Give the failback up", "ghost", CANCEL_FAILBACK_MEANS, { action: "cancel" })]
    : [
        button("List its lost writes", "ghost", LIST_MEANS, { action: "list" }),
        button("Merge lost writes", "danger", MERGE_MEANS, { lost_writes: "merge" }),
        button("Discard lost writes", "ghost", DISCARD_LOST_MEANS, { lost_writes: "discard" }),
      ];
  const said = isUnderWay ? "The old primary's log is read." : "Is the old primary back?";
  return [el("p", {}, said), el("div", { class: "buttons" }, ...made)];
}

function rolePart(task) {
  const { task_id: id } = task;
  const button = (title, tone, means, more) =>
    el("button", { type: "button", class: tone, onclick: () => failOver(id, title, means, more) }, title);
  const buttons = (...made) => el("div", { class: "buttons" }, ...made);
  if (roleOf(task) === "failed_over" || roleOf(task) === "failing_back")
    return [
      el("h3", {}, roleOf(task) === "failed_over" ? "Failed over" : "Failing back"),
      el("p", { class: "report" }, task.role.report.sentence),
      ...failbackPart(id, roleOf(task) === "failing_back"),
    ];
  if (roleOf(task) === "reversed")
    return [
      el("h3", {}, "Changed places"),
      el("p", { class: "report" }, `The old primary is the standby, by the task ${task.role.by}.`),
      el("p", { class: "report" }, task.role.report.sentence),
    ];
  if (roleOf(task) === "switching") return switchingPart(task);
  if (roleOf(task) === "failing_over")
    return [
      el("h3", {}, "Failing over"),
      el("p", {}, "The source's log is read to its end."),
      buttons(
        button("Follow the source again", "ghost", CANCEL_MEANS, { action: "cancel" }),
        button("Go on without the log", "danger", FORCE_MEANS, { force: true }),
      ),
    ];
  if (task.phase === "Following") return switchoverPart(task);
  return [
    el("h3", {}, "Is the source gone for good?"),
    el("p", {}, "Its target can take its place."),
    buttons(button("Fail over", "danger", FAILOVER_MEANS, {})),
  ];
}
