// A planned change of a task's sites: offered while the task is in step, and shown while it is under way.

const SWITCHOVER_MEANS = [
  "The direction from the target to the source is opened first, without a copy. Move the clients then.",
  "The sites change places when the source was left alone for 10 s, all of it is on the target, and both are equal.",
  "Both have to be sites of the configuration: the server says so if they are not.",
];
const CANCEL_SWITCHOVER_MEANS = [
  "The sites keep their places. The direction from the target to the source stays open, by a task of its own.",
];

async function switchOver(id, title, means, more) {
  if (await confirmed(title, title, false, ...explained(means))) await act("switchover", id, "asked for", more);
}

function switchoverPart({ task_id: id }) {
  const title = "Switch over";
  const begin = () => switchOver(id, title, SWITCHOVER_MEANS, {});
  return [
    el("h3", {}, "Planned move"),
    el("p", {}, "The target can become the primary, and the source its standby, without a loss."),
    el("div", { class: "buttons" }, el("button", { type: "button", class: "ghost", onclick: begin }, title)),
  ];
}

function switchingPart({ task_id: id, role }) {
  const title = "Give the switchover up";
  const cancel = () => switchOver(id, title, CANCEL_SWITCHOVER_MEANS, { action: "cancel" });
  return [
    el("h3", {}, "Switching over"),
    el("p", { class: "report" }, role.waiting_for ?? "It goes on by itself."),
    el("div", { class: "buttons" }, el("button", { type: "button", class: "ghost", onclick: cancel }, title)),
  ];
}
