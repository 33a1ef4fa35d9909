// Small parts of which every screen is made.

const SVG = "http://www.w3.org/2000/svg";

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const png = (bytes) => `data:image/png;base64,${bytes}`;

export function shown(name, bytes, about = name) {
  const smooth = ({ target }) => target.classList.toggle("smooth", target.naturalWidth > target.clientWidth);
  return el("figure", {}, el("img", { src: png(bytes), alt: about, onload: smooth }), el("figcaption", {}, about));
}

export function field(name, label, control) {
  control.name = name;
  return el("label", {}, label, control);
}

export const number = (name, label, value, more = {}) => field(name, label, el("input", { type: "number", value: String(value), ...more }));

// Steps of a walk: few enough to wait for.
export const steps = () => number("steps", "Steps", 50, { min: "1", max: "1000" });

export const walking = (steps) => (steps ? { steps } : {});

export const seed = () => number("seed", "Seed", 0, { min: "0", max: String(Number.MAX_SAFE_INTEGER) });

export function choice(name, label, values, value = "", none = "as the run has it") {
  const options = values.map((each) => el("option", { value: each, selected: each === value }, each || none));
  return field(name, label, el("select", {}, ...options));
}

export function copyable(title, text) {
  const button = el("button", { type: "button", onclick: () => navigator.clipboard.writeText(text).then(() => (button.textContent = "copied"), () => (button.textContent = "not copied: the browser refused")) }, `copy ${title}`);
  return el("div", {}, el("pre", {}, text), button);
}

export function download(name, bytes, kind, words) {
  return el("a", { href: `data:${kind};base64,${bytes}`, download: name }, words);
}

// Where an answer appears: its progress, what went wrong, and the parts as they come. A new question ends the old one.
export class Answer {
  constructor() {
    this.bar = el("progress", { max: 1, value: 0, hidden: true, "aria-label": "how far the answer is" });
    this.stop = el("button", { type: "button", hidden: true, onclick: () => this.end() }, "Stop");
    this.word = el("p", { class: "error", role: "alert" });
    this.body = el("div", { "aria-live": "polite" });
    this.node = el("section", { "aria-label": "answer" }, el("div", { class: "row" }, this.bar, this.stop), this.word, this.body);
  }

  end() {
    this.control?.abort();
  }

  async take(parts, show) {
    this.end();
    const control = (this.control = new AbortController());
    this.word.textContent = "";
    this.body.replaceChildren();
    this.bar.hidden = this.stop.hidden = false;
    this.bar.removeAttribute("value");
    this.node.dataset.state = "asked";
    try {
      for await (const part of parts(control.signal)) {
        if (part.share !== undefined) this.bar.value = part.share;
        else show(part);
      }
      this.node.dataset.state = "done";
    } catch (error) {
      if (this.control !== control) return;
      if (!control.signal.aborted) this.word.textContent = error.message;
      this.node.dataset.state = control.signal.aborted ? "stopped" : "refused";
    } finally {
      if (this.control === control) this.bar.hidden = this.stop.hidden = true;
    }
  }
}

// The command and the Python that give the same, and the downloads.
export function reproduce(part, name) {
  const links = [];
  if (part.array) links.push(download(`${name}.npy`, part.array, "application/octet-stream", "download .npy"));
  if (part.film) links.push(download("film.gif", part.film, "image/gif", "download film.gif"));
  for (const [which, bytes] of Object.entries(part.files || {})) if (bytes) links.push(download(which, bytes, "application/octet-stream", `download ${which}`));
  for (const [which, bytes] of Object.entries(part.pictures || {})) links.push(download(`${which}.png`, bytes, "image/png", `download ${which}.png`));
  return el(
    "details",
    { open: true },
    el("summary", {}, "The same outside of this page"),
    part.command ? copyable("command", part.command) : null,
    part.python ? copyable("Python", part.python) : null,
    el("p", { class: "row links" }, ...links),
  );
}

function drawn(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// Numbers at the places of a picture: the more, the deeper the colour; fewer than 0 have another colour.
export function heat(rows, most, about) {
  const canvas = el("canvas", { class: "heat", width: rows[0].length, height: rows.length, role: "img", "aria-label": about });
  const context = canvas.getContext("2d");
  rows.forEach((row, y) => row.forEach((value, x) => {
    context.globalAlpha = Math.min(Math.abs(value) / (most || 1), 1);
    context.fillStyle = value < 0 ? "rgb(47 111 176)" : "rgb(200 85 61)";
    context.fillRect(x, y, 1, 1);
  }));
  return canvas;
}

export const captioned = (node, words) => el("figure", {}, node, el("figcaption", {}, words));

// A number in a cell to six digits, and a whole one to all of them; other text as it is.
export const brief = (text) => (text === "" || !Number.isFinite(Number(text)) ? text : String(Number.isInteger(Number(text)) ? Number(text) : Number(Number(text).toPrecision(6))));

export const quiet = (words) => el("p", { class: "quiet" }, words);

// A chart with axes. Each series is {kind: line | other | thin | bars | band | mark, x, y, y2}.
export function chart(about, series, { width = 460, height = 220, x = "", y = "" } = {}) {
  const [left, right, top, bottom] = [52, 12, 12, 36];
  const all = (key) => series.flatMap((each) => each[key] || []).filter(Number.isFinite);
  const half = ({ kind, x: [first, ...more] }) => (kind === "bars" && more.length ? Math.abs(more.at(-1) - first) / (2 * more.length) : 0);
  const xs = series.flatMap((each) => each.x.flatMap((v) => [v - half(each), v + half(each)]));
  const ys = [...all("y"), ...all("y2"), ...(series.some((each) => each.kind === "bars") ? [0] : [])];
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  const px = (v) => left + ((v - x0) / (x1 - x0 || 1)) * (width - left - right);
  const py = (v) => height - bottom - ((v - y0) / (y1 - y0 || 1)) * (height - top - bottom);
  const node = drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": about });
  const text = (v) => String(Number(v.toPrecision(3)));
  node.append(
    drawn("text", { x: left, y: height - 18 }, text(x0)),
    drawn("text", { x: width - right, y: height - 18, "text-anchor": "end" }, text(x1)),
    drawn("text", { x: left - 4, y: height - bottom, "text-anchor": "end" }, text(y0)),
    drawn("text", { x: left - 4, y: top + 8, "text-anchor": "end" }, text(y1)),
    drawn("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, x),
    drawn("text", { x: 12, y: height / 2, transform: `rotate(-90 12 ${height / 2})`, "text-anchor": "middle" }, y),
  );
  for (const each of series) {
    const points = (ys_) => each.x.map((v, i) => [v, ys_[i]]).filter(([, b]) => Number.isFinite(b)).map(([a, b]) => [px(a), py(b)]);
    const path = (pairs) => pairs.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" ");
    if (each.kind === "band") node.append(drawn("polygon", { class: "band", points: path([...points(each.y), ...points(each.y2).reverse()]) }));
    else if (each.kind === "mark") node.append(drawn("line", { class: "mark", x1: px(each.x[0]), x2: px(each.x[0]), y1: top, y2: height - bottom }));
    else if (each.kind === "bars") {
      const wide = Math.max((width - left - right) / each.x.length - 1, 1);
      for (const [a, b] of points(each.y)) node.append(drawn("rect", { class: "bar", x: a - wide / 2, y: Math.min(b, py(0)), width: wide, height: Math.abs(py(0) - b) }));
    } else node.append(drawn("polyline", { class: each.kind, points: path(points(each.y)) }));
  }
  node.moveMark = (v) => [["x1", px(v)], ["x2", px(v)]].forEach(([name, at]) => node.querySelector(".mark").setAttribute(name, at));
  return node;
}

export function values(form) {
  const found = {};
  for (const control of form.elements) {
    if (!control.name || control.value === "") continue;
    found[control.name] = control.type === "number" ? Number(control.value) : control.value;
  }
  return found;
}

// A held-out example, chosen by its picture or its number.
export function picker(label, ask, changed, start = 0) {
  const box = el("div", { class: "pick", role: "group", "aria-label": label });
  const input = el("input", { type: "number", min: "0", value: String(start), onchange: () => choose(Number(input.value)) });
  const choose = (n) => {
    input.value = n;
    for (const each of box.children) each.setAttribute("aria-pressed", String(each.dataset.number === String(n)));
    changed?.(n);
  };
  (async () => {
    for await (const part of ask("examples", { first: 0, n: 24 })) {
      for (const [name, bytes] of Object.entries(part.pictures || {})) {
        box.append(el("button", { type: "button", "data-number": name, "aria-pressed": "false", onclick: () => choose(Number(name)) }, el("img", { src: png(bytes), alt: `held-out example ${name}` })));
      }
    }
    choose(Number(input.value));
  })().catch((error) => box.append(el("p", { class: "error", role: "alert" }, error.message)));
  return { node: el("div", { class: "picker" }, el("label", {}, label, input), box), get value() { return Number(input.value); } };
}
