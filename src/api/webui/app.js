// The behaviour of the page: polls the server, follows the address, opens dialogs.

const list = new List();
const detail = new Detail();
const EVERY = 2000;
let asking = false;
let seen = null;

/** The id of the task in the address; `null` for the list. */
function current() {
  if (!location.hash.startsWith("#task/")) return null;
  try {
    return decodeURIComponent(location.hash.slice(6));
  } catch {
    return null;
  }
}

async function refresh() {
  if (asking || $("login").open) return;
  asking = true;
  try {
    const id = current();
    const { tasks } = await call("list", { details: true });
    const known = tasks.some((task) => task.task_id === id);
    list.show(tasks, id);
    detail.open(known ? id : null);
    if (known) {
      const { task } = await call("get", { task_id: id, details: true, events: true });
      const drops = await dropsOf(task);
      if (current() === id) detail.show(task, drops);
    }
    seen = new Date();
    linked(true);
  } catch (error) {
    if (error instanceof NoToken) askToken();
    // A task that was deleted between the two requests disappears with the next answer.
    else if (!(error instanceof Refused)) linked(false);
  } finally {
    asking = false;
  }
}

function linked(well) {
  $("link").className = well ? "link" : "link lost";
  $("link").textContent = well ? "" : `The server does not answer${seen ? `; shown is ${clock(seen.getTime())}` : ""}`;
}

function askToken() {
  const wrong = sessionStorage.getItem(KEY) !== null;
  sessionStorage.removeItem(KEY);
  $("login-wrong").hidden = !wrong;
  $("login-token").value = "";
  if (!$("login").open) $("login").showModal();
}

/** Sends a request about a task and shows the outcome. Returns whether it succeeded. */
async function act(type, id, done, more = {}) {
  try {
    await call(type, { task_id: id, ...more });
    toast(`${id} ${done}`);
    return true;
  } catch (error) {
    if (error instanceof NoToken) askToken();
    else
      toast(
        error instanceof Refused ? error.message : "The server does not answer; nothing is known about the result",
        "bad",
      );
    return false;
  } finally {
    refresh();
  }
}

// --- creating ---

function openCreate() {
  const form = $("create-form");
  form.reset();
  unchecked();
  $("create").showModal();
  form.elements.uri.focus();
}

function unchecked() {
  $("create-findings").replaceChildren();
  $("create-go").hidden = true;
  $("create-check").className = "primary";
}

function createData() {
  const { uri, token, task_id: id, collections, disable_auto_start: paused } = $("create-form").elements;
  const data = {
    milvus_connect_param: { uri: uri.value.trim(), token: token.value, connect_timeout: 10 },
    disable_auto_start: paused.checked,
  };
  if (id.value) data.task_id = id.value;
  const names = collections.value
    .split(/[\n,]/)
    .map((name) => name.trim())
    .filter(Boolean);
  if (names.length === 0) return { ...data, collection_infos: [{ name: "*" }] };
  data.db_collections = {};
  for (const name of names) {
    // Names of collections contain no dots, so the first dot ends the database.
    const dot = name.indexOf(".");
    const database = dot < 0 ? "default" : name.slice(0, dot);
    (data.db_collections[database] ??= []).push({ name: name.slice(dot + 1) });
  }
  return data;
}

const MARKS = { good: ["✓", "good", "fine"], warning: ["!", "warn", "a warning"], problem: ["✗", "bad", "a problem"] };

function findingRow({ level, about, text, remedy }) {
  const [mark, tone, said] = MARKS[level];
  return el(
    "div",
    { class: "finding" },
    el("i", { class: tone, role: "img", "aria-label": said }, mark),
    el("span", { class: "muted" }, about),
    el("span", {}, text, remedy ? el("em", {}, `→ ${remedy}`) : ""),
  );
}

async function checkCreate(event) {
  event.preventDefault();
  const button = $("create-check");
  unchecked();
  button.disabled = true;
  button.textContent = "Checking …";
  try {
    const { ok, findings } = await call("check", {
      ...createData(),
      pause_hours: Number($("create-form").elements.pause_hours.value),
    });
    $("create-findings").replaceChildren(...findings.map(findingRow));
    const go = $("create-go");
    go.hidden = false;
    go.textContent = ok ? "Create" : "Create anyway";
    go.className = ok ? "primary" : "danger";
    button.className = "ghost";
    if (ok) go.focus();
  } catch (error) {
    failed(error);
  } finally {
    button.disabled = false;
    button.textContent = "Check";
  }
}

async function goCreate() {
  $("create-go").disabled = true;
  try {
    const { task_id: id } = await call("create", createData());
    $("create").close();
    toast(`${id} created`);
    location.hash = `#task/${encodeURIComponent(id)}`;
    refresh();
  } catch (error) {
    failed(error);
  } finally {
    $("create-go").disabled = false;
  }
}

function failed(error) {
  if (error instanceof NoToken) return askToken();
  const text = error instanceof Refused ? error.message : "the server does not answer";
  $("create-findings").replaceChildren(
    findingRow({ level: "problem", about: "request", text, remedy: "correct what it names, then check again" }),
  );
}

// --- colours ---

const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };

function theme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  localStorage.setItem("milvus-cdc-theme", name);
  $("theme").textContent = `◐ ${THEMES[name]}`;
  $("theme").setAttribute("aria-label", `Colours: ${THEMES[name]}`);
}

function nextTheme() {
  const names = Object.keys(THEMES);
  theme(names[(names.indexOf(localStorage.getItem("milvus-cdc-theme")) + 1) % names.length]);
}

// --- keys ---

function onKey(event) {
  const typing = event.target.matches("input, textarea") || document.querySelector("dialog[open]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n") {
    event.preventDefault();
    openCreate();
  } else if (event.key === "Escape" && current() !== null) location.hash = "#";
}

const known = localStorage.getItem("milvus-cdc-theme");
theme(known in THEMES ? known : "auto");
$("theme").addEventListener("click", nextTheme);
$("new").addEventListener("click", openCreate);
$("create-form").addEventListener("submit", checkCreate);
$("create-form").addEventListener("input", unchecked);
$("create-go").addEventListener("click", goCreate);
$("create-cancel").addEventListener("click", () => $("create").close());
$("login-form").addEventListener("submit", () => sessionStorage.setItem(KEY, $("login-token").value));
$("login").addEventListener("close", refresh);
document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
addEventListener("hashchange", refresh);
setInterval(() => document.hidden || refresh(), EVERY);
refresh();
