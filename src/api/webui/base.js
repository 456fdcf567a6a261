"use strict";
// Requests to the server, and texts. Answers only ever become text nodes: nothing here turns them into HTML.

const KEY = "milvus-cdc-token";

class Refused extends Error {}
class NoToken extends Error {}

async function call(type, data = {}) {
  const token = sessionStorage.getItem(KEY);
  const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const body = JSON.stringify({ request_type: type, request_data: data });
  const answer = await fetch("/cdc", { method: "POST", headers, body, cache: "no-store", credentials: "omit" });
  if (answer.status === 401) throw new NoToken();
  const { code, message, data: result } = await answer.json();
  if (code !== 200) throw new Refused(message);
  return result;
}

const $ = (id) => document.getElementById(id);

/** An element with properties (`on…` are listeners, `class` and names with a dash are attributes) and children. */
function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class" || name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  const s = Math.floor(ms / 1000);
  if (s < 1) return `${Math.round(ms)} ms`;
  if (s < 60) return `${(ms / 1000).toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

/** A lag of exactly 0 means that nothing is read from the log yet. */
const lagText = (task) => (task.lag_ms === 0 ? "–" : duration(task.lag_ms));

/** In whole seconds, so that it does not flicker. */
const ago = (ms) => (ms < 1000 ? "just now" : `${duration(Math.floor(ms / 1000) * 1000).replace(".0", "")} ago`);

const number = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));

function bytes(value) {
  if (value < 1024) return `${value} B`;
  return value < 1 << 20 ? `${(value / 1024).toFixed(0)} KiB` : `${(value / (1 << 20)).toFixed(1)} MiB`;
}

function clock(ms) {
  const at = new Date(ms);
  const time = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString("en-CA")} ${time}`;
}

/** The tone of each phase, and what the user can do. */
const PHASES = {
  Connecting: { tone: "busy", todo: "The task connects and compares the catalog for the first time. Nothing to do." },
  Copying: { tone: "busy", todo: "Rows that the log no longer holds are read from the source. Nothing to do." },
  CatchingUp: {
    tone: "busy",
    todo: "A backlog is being applied. If the lag grows, the target is too slow for the source.",
  },
  Following: { tone: "good", todo: "" },
  Retrying: { tone: "warn", todo: "The task retries until this is resolved, then continues by itself." },
  Paused: { tone: "still", todo: "Resume the task before the source's log loses what the target lacks." },
  Stopped: { tone: "bad", todo: "Fix this first, then resume the task." },
};
const FAILED_OVER = {
  tone: "still",
  todo: "The target is the primary now. Nothing of the source is applied any more.",
};
const phaseOf = (task) =>
  ["failed_over", "reversed"].includes(roleOf(task))
    ? FAILED_OVER
    : (PHASES[task.phase] ?? { tone: "still", todo: "" });
const pill = (task) => el("span", { class: `pill ${phaseOf(task).tone}` }, task.phase);

function targetOf(task) {
  const { uri, host, port } = task.milvus_connect_param;
  return uri || `${host}:${port}`;
}

/** Version and build of a side, and what follows from them: pairs of a name and a text. */
function serverOf(name, server) {
  if (!server) return [[`${name}'s version`, "not told yet"]];
  const build = server.build ? ` (build ${server.build})` : "";
  return [[`${name}'s version`, `${server.version}${build}`], ...server.means.map((one) => [`${name}`, one])];
}

function followsOf(task) {
  const infos = task.collection_infos ?? [];
  if (infos.length === 1 && infos[0].name === "*" && !task.db_collections) return "everything";
  const named = infos.map((info) => `default.${info.name}`);
  for (const [db, list] of Object.entries(task.db_collections ?? {}))
    named.push(...list.map((info) => `${db}.${info.name}`));
  return named.length > 4 ? `${named.slice(0, 4).join(", ")} and ${named.length - 4} more` : named.join(", ");
}

function toast(text, tone = "good") {
  const shown = el("div", { class: `toast ${tone}` }, text);
  $("toasts").append(shown);
  setTimeout(() => shown.remove(), tone === "bad" ? 9000 : 4000);
}

/** Asks for confirmation in a dialog; `parts` are its text. */
function confirmed(title, yes, danger, ...parts) {
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").replaceChildren(...parts);
  $("ask-yes").textContent = yes;
  $("ask-yes").className = danger ? "danger" : "primary";
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) =>
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }),
  );
}
