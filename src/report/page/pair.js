// Fills the page from its data. Text goes in as text, never as HTML: names come from files.

const data = JSON.parse(document.getElementById("data").textContent);
const { answer } = data;
const byId = (id) => document.getElementById(id);
const rgb = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function fixed(number, digits) {
  return Number.isFinite(number) ? number.toFixed(digits) : "–";
}

function percent(share) {
  return `${fixed(100 * share, 1)} %`;
}

// Three significant digits, without exponents where they are not needed.
function length(number) {
  if (!Number.isFinite(number)) return "–";
  return number !== 0 && (Math.abs(number) < 1e-4 || Math.abs(number) >= 1e6) ? number.toExponential(2) : String(Number(number.toPrecision(3)));
}

function milliseconds(spent) {
  return spent >= 1000 ? `${(spent / 1000).toFixed(2)} s` : `${spent.toFixed(1)} ms`;
}

function count(number) {
  return number.toLocaleString("en-US").replaceAll(",", "\u202f");
}

function row(cells, numberFrom = 1) {
  const made = element("tr");
  cells.forEach((cell, i) => made.append(element(i ? "td" : "th", cell, i >= numberFrom ? "number" : "")));
  return made;
}

function showVerdict() {
  document.body.classList.add(answer.status);
  byId("status").textContent = answer.status.toUpperCase();
  byId("source-name").textContent = data.source.name;
  byId("target-name").textContent = data.target.name;
  byId("why").textContent = data.why;
  byId("warnings").textContent = answer.warnings.map((warning) => `Warning: ${warning}.`).join(" ");
  byId("warnings").hidden = answer.warnings.length === 0;
  byId("confidence").textContent = fixed(answer.confidence, 3);
  byId("confidence-bar").style.width = `${100 * (answer.confidence ?? 0)}%`;
  byId("confidence-mark").style.left = `${100 * data.least_confidence}%`;
  const enough = answer.confidence >= data.least_confidence;
  byId("confidence-needed").textContent = answer.status === "rejected" && enough
    ? "enough, but rejected for another reason"
    : `accepted from ${data.least_confidence}`;
}

function showNumbers() {
  const tiles = [
    [percent(answer.overlap), "of the source on the target"],
    [`${count(answer.inliers)} / ${count(data.matches.total)}`, `matches closer than ${length(data.matches.tolerance)}`],
    [length(answer.inlier_rmse), "between the surfaces (rms)"],
    [milliseconds(answer.timings_ms.total), `on ${answer.device}`],
  ];
  for (const [value, name] of tiles) {
    const tile = element("div");
    tile.append(element("b", value), element("span", name));
    byId("tiles").append(tile);
  }
}

function showMatrix(table, rows, digits) {
  for (const numbers of rows) {
    const line = element("tr");
    numbers.forEach((x) => line.append(element("td", digits === null ? x.toExponential(2) : x.toFixed(digits))));
    table.append(line);
  }
}

function showTransform() {
  const matrix = answer.T_target_source;
  showMatrix(byId("matrix"), matrix, 6);
  showMatrix(byId("information"), answer.information, null);
  byId("information-centre").textContent = `(${answer.information_centre.map((x) => x.toFixed(3)).join(", ")})`;
  const cosine = (matrix[0][0] + matrix[1][1] + matrix[2][2] - 1) / 2;
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine))) * 180 / Math.PI;
  const shift = Math.hypot(matrix[0][3], matrix[1][3], matrix[2][3]);
  byId("motion").textContent = `Turns by ${angle.toFixed(2)}°, translation ${length(shift)} long.`;
  if (answer.unobserved.length) {
    byId("unobserved").textContent = `Not determined by the overlap: ${answer.unobserved.join(", ")}`;
    byId("unobserved").hidden = false;
  }
  const rows = matrix.map((numbers) => numbers.join(" ")).join("\n") + "\n";
  const [w, x, y, z] = quaternion(matrix);
  byId("quaternion").textContent = `Quaternion x y z w: ${[x, y, z, w].map((part) => part.toFixed(6)).join(" ")}`;
  const pose = [...matrix.slice(0, 3).map((numbers) => numbers[3]), x, y, z, w].join(" ") + "\n";
  const numpy = `np.array([${matrix.map((numbers) => `[${numbers.join(", ")}]`).join(",\n          ")}])\n`;
  byId("copy-rows").addEventListener("click", () => copy(rows));
  byId("copy-numpy").addEventListener("click", () => copy(numpy));
  byId("copy-pose").addEventListener("click", () => copy(pose));
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages from a disk or without encryption may be refused; a selection never is.
    const area = element("textarea", text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  byId("copied").textContent = "copied";
  setTimeout(() => { byId("copied").textContent = ""; }, 1500);
}

function showTimes() {
  byId("device").textContent = `on ${answer.device}`;
  const { total, ...stages } = answer.timings_ms;
  const entries = Object.entries(stages);
  const rest = total - entries.reduce((sum, [, spent]) => sum + spent, 0);
  if (rest > 0) entries.push(["other", rest]);
  const longest = Math.max(...entries.map(([, spent]) => spent));
  for (const [name, spent] of entries) {
    const bar = element("div", null, "bar");
    bar.append(element("i"));
    bar.firstChild.style.width = `${100 * spent / longest}%`;
    byId("stages").append(element("span", name), bar, element("span", milliseconds(spent), "number"));
  }
  byId("stages").append(element("span", "total", "sum"), element("span", "\u00a0", "sum"), element("span", milliseconds(total), "number sum"));
}

function rampColour(share) {
  const { ramp } = data.colours;
  const place = share * (ramp.length - 1);
  const below = Math.min(ramp.length - 2, Math.floor(place));
  return rgb(mix(ramp[below], ramp[below + 1], place - below).map(Math.round));
}

function rampGradient() {
  return `linear-gradient(to right, ${data.colours.ramp.map(rgb).join(", ")})`;
}

function showHistogram() {
  const { bins, scale, reach, median, beyond_scale, beyond_reach } = data.residuals.histogram;
  const total = Math.max(1, data.source.shown);
  const tallest = Math.max(1, ...bins, beyond_scale, beyond_reach);
  const add = (number, colour, className, name) => {
    const bar = element("i", null, className);
    bar.style.height = `${100 * number / tallest}%`;
    bar.style.background = colour;
    bar.title = `${name}: ${percent(number / total)}`;
    byId("histogram").append(bar);
  };
  bins.forEach((number, i) => {
    const [from, to] = [i, i + 1].map((edge) => length(scale * edge / bins.length));
    add(number, rampColour((i + 0.5) / bins.length), "", `${from} to ${to}`);
  });
  const axis = element("span");
  [0, 0.5, 1].forEach((share) => axis.append(element("b", length(scale * share))));
  byId("histogram-axis").append(axis);
  const addBeside = (number, colour, name, label) => {
    byId("histogram").append(element("span", null, "gap"));
    add(number, colour, "wide", name);
    byId("histogram-axis").append(element("span", null, "gap"), element("em", label));
  };
  if (scale < reach) addBeside(beyond_scale, rampColour(1), `more than ${length(scale)}`, "more");
  addBeside(beyond_reach, rgb(data.colours.alone), `nothing within ${length(reach)}`, "none");
  const alone = percent(beyond_reach / total);
  byId("histogram-facts").textContent = median === null
    ? `No point has a counterpart within ${length(reach)}.`
    : `Median ${length(median)}. ${alone} of the points have no counterpart within ${length(reach)}.`;
}

function showEvidence() {
  const table = byId("evidence");
  const [found, rival] = data.evidence;
  if (!found) {
    table.append(row(["No two keypoints matched."]));
    return;
  }
  const head = element("thead");
  head.append(row(["", "the answer", ...(rival ? ["next best"] : [])]));
  table.append(head);
  const body = element("tbody");
  const line = (name, show) => body.append(row([name, show(found), ...(rival ? [show(rival)] : [])]));
  line("source on the target's surface", (e) => percent(e.source_overlap));
  line("target on the source's surface", (e) => percent(e.target_overlap));
  line("source that resists a shift", (e) => percent(e.source_hold));
  line("target that resists a shift", (e) => percent(e.target_hold));
  line("source where the target's sensor looked through", (e) => percent(e.source_in_front));
  line("target where the source's sensor looked through", (e) => percent(e.target_in_front));
  line("matches that agree", (e) => count(e.inliers));
  line("log-odds, taken alone", (e) => fixed(e.log_odds, 1));
  body.append(row(["different transforms compared on the clouds", count(data.rivals + 1), ...(rival ? [""] : [])]));
  table.append(body);
}

function showSettings() {
  const table = byId("settings");
  data.settings.forEach(([name, value]) => {
    const line = row([name, value], 2);
    line.lastChild.className = "name";
    table.append(line);
  });
  for (const [role, cloud] of [["source", data.source], ["target", data.target]]) {
    const leftOut = cloud.left_out ? `, ${count(cloud.left_out)} not finite or far away` : "";
    table.append(row([role, `${count(cloud.total)} points, ${count(cloud.shown)} shown${leftOut}`], 2));
  }
}

// The viewer and its tools

function legendLine(colour, text, className = "") {
  const line = element("div");
  const mark = element("i", null, className);
  mark.style.background = colour;
  line.append(mark, element("span", text));
  return line;
}

function showLegend(viewer) {
  const { colours, matches, residuals: { histogram } } = data;
  const lines = viewer.byDistance
    ? [legendLine(rgb(colours.backdrop), "target"), legendLine(rgb(colours.alone), `source, nothing within ${length(histogram.reach)}`)]
    : [legendLine(rgb(colours.source), "source"), legendLine(rgb(colours.target), "target")];
  if (viewer.byDistance) {
    const line = element("div");
    const ramp = element("span", null, "ramp");
    ramp.style.background = rampGradient();
    line.append(element("span", "0"), ramp, element("span", `${length(histogram.scale)} after`));
    lines.push(line);
  }
  if (viewer.matches !== "none") lines.push(legendLine(rgb(colours.inlier), `${count(matches.inliers)} inliers`, "line"));
  if (viewer.matches === "all") lines.push(legendLine(rgb(colours.outlier), `${count(matches.shown - matches.inliers)} outliers`, "line"));
  byId("legend").replaceChildren(...lines);
}

function choice(id, first, act) {
  const buttons = [...byId(id).querySelectorAll("button")];
  const choose = (value) => {
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.value === value)));
    act(value);
  };
  buttons.forEach((button) => button.addEventListener("click", () => choose(button.value)));
  choose(first);
  return choose;
}

function showGap(place) {
  byId("gap").hidden = data.gap === null || place === "after";
  if (data.gap !== null) byId("gap").textContent = `Drawn closer together: the clouds are ${length(data.gap)} apart in the files.`;
}

// A bar of a round length, about as long as a finger is wide.
function showScale(lengthOfPixel) {
  const most = 130 * lengthOfPixel;
  const power = 10 ** Math.floor(Math.log10(most));
  const round = [5, 2, 1].map((digit) => digit * power).find((candidate) => candidate <= most);
  const [bar, text] = byId("scale").children;
  bar.style.width = `${round / lengthOfPixel}px`;
  text.textContent = length(round);
}

function startViewer() {
  const viewer = new Viewer(byId("canvas"), data, showScale);
  const choosePlace = choice("place", "after", (place) => { viewer.setPlace(place === "after"); showGap(place); });
  choice("colour", "cloud", (colour) => { viewer.setColour(colour === "distance"); showLegend(viewer); });
  choice("matches", "inliers", (matches) => { viewer.setMatches(matches); showLegend(viewer); });
  byId("size").addEventListener("input", (event) => viewer.setSize(Number(event.target.value)));
  byId("reset").addEventListener("click", () => viewer.resetView());
  byId("canvas").addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    choosePlace(viewer.goal === 1 ? "before" : "after");
  });
  byId("canvas").addEventListener("webglcontextlost", showStill);
}

function showStill() {
  byId("tools").hidden = true;
  byId("stage").hidden = true;
  byId("still").hidden = false;
}

showVerdict();
showNumbers();
showTransform();
showTimes();
showHistogram();
showEvidence();
showSettings();
byId("footer").textContent = `coregister ${answer.version}`;
try {
  startViewer();
} catch (error) {
  console.warn(`The clouds are shown as stills: ${error.message}`);
  showStill();
}
