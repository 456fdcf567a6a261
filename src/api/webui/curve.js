// The last hour as a chart. Times in which the task was not running are gaps.

const HOUR = 3600000;

/** Points of `[time, lag, rows]` as one value per slot, `null` where there is none. */
function slots(curve, now, value) {
  const begin = Math.floor(now / curve.slot_ms) * curve.slot_ms - HOUR + curve.slot_ms;
  const count = Math.round(HOUR / curve.slot_ms);
  const values = new Array(count).fill(null);
  for (const point of curve.points) {
    const slot = Math.round((point[0] - begin) / curve.slot_ms);
    if (slot >= 0 && slot < count) values[slot] = value(point);
  }
  return values;
}

const lagOf = (point) => point[1];
const rateOf = (slotMs) => (point) => point[2] / (slotMs / 1000);

/** A chart of the values; `floor` is the smallest value that the top may stand for. */
function drawing(values, { width, height, floor, kind, label, name }) {
  const top = Math.max(floor, ...values.map((value) => value ?? 0));
  const step = width / values.length;
  const y = (value) => height - 2 - (value / top) * (height - 6);
  const at = (index) => (index + 0.5) * step;
  const shapes = [svg("line", { class: "grid", x1: 0, x2: width, y1: height - 1, y2: height - 1 })];
  if (kind === "bars") {
    const bar = (value, index) =>
      value ? `M${index * step} ${height - 1}h${step * 0.8}V${y(value)}h${-step * 0.8}z` : "";
    shapes.push(svg("path", { class: "bars", d: values.map(bar).join("") }));
  } else {
    for (const run of runs(values)) {
      const line = run.map(([index, value]) => `${at(index).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
      const [first, last] = [at(run[0][0]), at(run.at(-1)[0])];
      const alone = run.length === 1 ? `h${step}` : "";
      shapes.push(svg("path", { class: "area", d: `M${first} ${height}L${line}L${last} ${height}z` }));
      shapes.push(svg("path", { class: "path", d: `M${line}${alone}` }));
    }
  }
  const title = svg("title", {});
  title.textContent = label(top);
  return [
    svg(
      "svg",
      { class: name, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" },
      title,
      ...shapes,
    ),
    top,
  ];
}

/** Runs of adjacent slots that have a value. */
function runs(values) {
  const found = [];
  values.forEach((value, index) => {
    if (value === null) return;
    if (index > 0 && values[index - 1] !== null) found.at(-1).push([index, value]);
    else found.push([[index, value]]);
  });
  return found;
}

/** The small chart in the list. */
function smallCurve(details) {
  const values = slots(details.lag_curve, Date.now(), lagOf);
  const label = (top) =>
    values.some((value) => value !== null)
      ? `Lag over the last hour, at most ${duration(top)}`
      : "No lag known in the last hour";
  return drawing(values, { width: 130, height: 34, floor: 2000, kind: "line", label, name: "curve" })[0];
}

/** A chart with its scale. */
function chart(title, details, kind) {
  const isLag = kind === "lag";
  const values = slots(details.lag_curve, Date.now(), isLag ? lagOf : rateOf(details.lag_curve.slot_ms));
  const say = isLag ? duration : (rate) => `${number(Math.round(rate))} rows/s`;
  const options = { width: 600, height: 120, floor: isLag ? 1000 : 1, kind: isLag ? "line" : "bars", name: "chart" };
  const [image, top] = drawing(values, {
    ...options,
    label: (most) => `${title} over the last hour, at most ${say(most)}`,
  });
  return el(
    "div",
    {},
    el("h3", {}, title),
    el("div", { class: "axis" }, el("span", {}, say(top))),
    image,
    el("div", { class: "axis" }, el("span", {}, "an hour ago"), el("span", {}, "now")),
  );
}
