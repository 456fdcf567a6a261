// What the source has dropped and the target still has: held drops with their two decisions, and renamed collections.

const CONFIRM_MEANS = [
  "Everything that is listed is dropped on the target, or renamed there where the task does that.",
  "Only what is listed: a drop that is held later asks again.",
];
const DISCARD_MEANS = [
  "Everything that is listed stays on the target, where it is the task's no longer.",
  "A new collection of the same name waits until you drop or rename the one on the target.",
];
const NO_DROPS = { drops: [], set_aside: [] };

/** Of a task that runs; others hold nothing that could be shown. */
async function dropsOf(task) {
  if (task.state === "Paused" || task.phase === "Stopped") return NO_DROPS;
  try {
    return await call("drops", { task_id: task.task_id });
  } catch (error) {
    // It has ended between the two requests.
    if (error instanceof Refused) return NO_DROPS;
    throw error;
  }
}

async function decideDrops(id, action) {
  const confirms = action === "confirm";
  const { drops } = await call("drops", { task_id: id });
  const named = drops.map((one) => one.target).join(", ");
  const means = confirms ? CONFIRM_MEANS : DISCARD_MEANS;
  const title = confirms ? `Drop on the target of ${id}?` : `Keep on the target of ${id}?`;
  const parts = [el("p", {}, el("code", {}, named)), ...explained(means)];
  if (await confirmed(title, confirms ? "Drop them" : "Keep them", confirms, ...parts))
    await act("drops", id, confirms ? "drops them" : "keeps them", { action });
}

/** What the part shows; nothing where nothing was dropped. */
function dropsTable(id, { drops, set_aside: aside }) {
  const decide = (action, text, tone) =>
    el("button", { type: "button", class: tone, onclick: () => decideDrops(id, action).catch(() => refresh()) }, text);
  const rows = drops.map((one) => [one.source || "–", one.target, one.kind, clock(one.since)]);
  const held = drops.length
    ? [
        ...table(`Held drops (${drops.length})`, ["At the source", "On the target", "Kind", "Since"], rows, ""),
        el(
          "div",
          { class: "buttons" },
          decide("discard", "Keep on the target", "ghost"),
          decide("confirm", "Drop on the target", "danger"),
        ),
      ]
    : [];
  const renamed = aside.map((one) => [one.source || "–", one.target, clock(one.until)]);
  const heads = ["Was at the source", "On the target", "Dropped at"];
  return aside.length ? [...held, ...table(`Renamed (${aside.length})`, heads, renamed, "")] : held;
}
