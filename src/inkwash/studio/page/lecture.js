// The notes as small experiments, in English and Chinese. All numbers come from the library.
import { events, whole } from "./api.js";
import { Answer, chart, choice, el, number, reproduce, values } from "./parts.js";

const POINTS = ["two-moons", "swiss-roll", "checkerboard"];
const SCHEDULES = ["cosine", "linear", "log-linear", "sohl-dickstein", "rectified", "karras"];

const WORDS = {
  en: {
    language: "中文",
    forward: ["1. Ink in water: the forward process", "Noise spreads the points until nothing is left of their shape: x_t = α(t) x + σ(t) ε. The same noise ε is added at each time, with more weight; move the slider."],
    roots: "weights that add up to 1, without square roots",
    rootsWhy: "Why the square roots? Variances add up, not scales. With α² + σ² = 1 data of variance 1 keeps variance 1 at each time; with weights that add up to 1, the variance sinks halfway, and the network would see inputs of another size at each time.",
    schedules: ["2. Schedules: how fast", "All that a schedule decides is the log-SNR, log(α²/σ²), at each time. Two schedules of the same log-SNR differ only in the scale of x_t."],
    predictions: ["3. Three predictions of one thing", "At a place x_t the best estimate x̂ of the data is known exactly here: a weighted mean of the points. From x̂ follow ε̂ = (x_t − α x̂)/σ, the score −ε̂/σ, and v = α ε̂ − σ x̂. Each arrow shows one of them; at late times x̂ is nearly the mean of all points, and at early times the nearest point."],
    backward: ["4. The film, backwards", "A walk back takes the estimate at each step. With fresh noise (ancestral) paths tremble; without it (DDIM) they are smooth. Both end on the points, since the exact denoiser knows only these: a network that is trained on few points learns them by heart in the same way."],
    fresh: "fresh noise",
    show: "Show",
  },
  zh: {
    language: "English",
    forward: ["1. 墨入水中：前向过程", "噪声使这些点逐渐散开，直到形状完全消失：x_t = α(t) x + σ(t) ε。每个时刻加的是同一个噪声 ε，只是权重越来越大；请拖动滑块。"],
    roots: "权重之和为 1（不取平方根）",
    rootsWhy: "为什么要平方根？可以相加的是方差，而不是尺度。若 α² + σ² = 1，方差为 1 的数据在每个时刻方差仍为 1；若权重之和为 1，中途方差会下降，网络在不同时刻看到的输入大小就不同。",
    schedules: ["2. 噪声表：快慢", "噪声表所决定的只是每个时刻的对数信噪比 log(α²/σ²)。对数信噪比相同的两个噪声表，只差 x_t 的尺度。"],
    predictions: ["3. 三种预测，同一件事", "这里在每个位置 x_t，数据的最优估计 x̂ 是精确已知的：各点的加权平均。由 x̂ 可得 ε̂ = (x_t − α x̂)/σ、得分 −ε̂/σ，以及 v = α ε̂ − σ x̂。箭头表示其中之一；时刻晚时 x̂ 几乎是所有点的均值，时刻早时则是最近的点。"],
    backward: ["4. 倒放的影片", "反向行走的每一步都使用估计。加入新噪声（祖先采样）时路径会抖动；不加（DDIM）时路径平滑。两者都终止于这些点，因为精确的去噪器只认识它们：用很少的点训练的网络也会这样把数据背下来。"],
    fresh: "加入新噪声",
    show: "显示",
  },
};

async function* experiment(name, options, signal) {
  yield* whole(events(`lecture/${name}`, options, signal));
}

export function lectureScreen() {
  const root = el("div", {});
  const write = (language) => {
    const words = WORDS[language];
    const other = language === "en" ? "zh" : "en";
    root.lang = language;
    root.replaceChildren(
      el("button", { type: "button", lang: other, onclick: () => write(other) }, words.language),
      section(words.forward, words, forward),
      el("p", {}, words.rootsWhy),
      section(words.schedules, words, schedules),
      section(words.predictions, words, predictions),
      section(words.backward, words, backward),
    );
  };
  write(navigator.language.startsWith("zh") ? "zh" : "en");
  return root;
}

const section = ([title, text], words, make) => el("section", { "aria-label": title }, el("h2", {}, title), el("p", {}, text), ...make(words, title));

function form(title, words, fields, run) {
  return el("form", { "aria-label": title, onsubmit: (event) => { event.preventDefault(); run(event.target); } }, ...fields, el("button", { class: "main" }, words.show));
}

// Points of the plane at a few times, with a slider over them.
class Plane {
  constructor(describe) {
    this.frames = [];
    this.describe = describe;
    this.place = el("input", { type: "range", min: "0", max: "0", value: "0", "aria-label": "time", oninput: () => this.show() });
    this.canvas = el("canvas", { width: 420, height: 420, role: "img" });
    this.word = el("p", { class: "quiet", "aria-live": "polite" });
    this.node = el("div", {}, this.place, this.canvas, this.word);
  }

  add(frame) {
    this.frames.push(frame);
    this.place.max = String(this.frames.length - 1);
    this.place.value = this.place.max;
    this.show();
  }

  show() {
    const frame = this.frames[Number(this.place.value)];
    scatter(this.canvas, frame.points);
    this.word.textContent = this.describe(frame);
    this.canvas.setAttribute("aria-label", this.word.textContent);
    this.place.setAttribute("aria-valuetext", this.word.textContent);
  }
}

function scatter(canvas, points, reach = 3.5, arrows = null) {
  const context = canvas.getContext("2d");
  const ink = getComputedStyle(document.body).color;
  const at = (v) => ((v / reach + 1) / 2) * canvas.width;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = ink;
  context.globalAlpha = arrows ? 0.3 : 0.7;
  for (const [x, y] of points) context.fillRect(at(x) - 1.5, canvas.height - at(y) - 1.5, 3, 3);
  context.globalAlpha = 1;
  context.strokeStyle = "rgb(200 85 61)";
  for (const [[x, y], [u, v]] of arrows || []) {
    context.beginPath();
    context.moveTo(at(x), canvas.height - at(y));
    context.lineTo(at(x + u), canvas.height - at(y + v));
    context.stroke();
    context.strokeRect(at(x + u) - 1, canvas.height - at(y + v) - 1, 2, 2);
  }
}

const checked = (name, label) => el("label", { class: "line" }, el("input", { type: "checkbox", name }), label);

function forward(words, title) {
  const answer = new Answer();
  const run = (node) => {
    const plane = new Plane((frame) => `t = ${frame.time.toFixed(3)}, α = ${frame.alpha.toFixed(3)}, σ = ${frame.sigma.toFixed(3)}, variance ${frame.variance.toFixed(3)}`);
    const options = { points: node.elements.points.value, schedule: node.elements.schedule.value, without_roots: node.elements.without_roots.checked };
    answer.take((signal) => experiment("forward", options, signal), (part) => {
      if (part.points) plane.add(part);
      else answer.body.append(reproduce(part, "forward"));
      if (!plane.node.isConnected) answer.body.append(plane.node);
    });
  };
  return [form(title, words, [choice("points", "x", POINTS, POINTS[0]), choice("schedule", "α(t), σ(t)", SCHEDULES, SCHEDULES[0]), checked("without_roots", words.roots)], run), answer.node];
}

function schedules(words, title) {
  const answer = new Answer();
  const run = () => {
    const rows = el("div", { class: "pictures" });
    answer.take((signal) => experiment("schedules", {}, signal), (part) => {
      if (!rows.isConnected) answer.body.append(rows);
      const one = (curve) => chart(`${curve} of the schedule ${part.name}`, [{ kind: "line", x: part.time, y: part[curve] }], { width: 300, height: 170, x: "t", y: curve });
      rows.append(el("figure", {}, el("figcaption", {}, part.name), one("log_snr"), one("alpha"), one("sigma")));
    });
  };
  return [form(title, words, [], run), answer.node];
}

function predictions(words, title) {
  const answer = new Answer();
  const run = (node) => {
    const { which, ...options } = values(node);
    answer.take((signal) => experiment("predictions", options, signal), (part) => {
      const canvas = el("canvas", { width: 420, height: 420, role: "img", "aria-label": `${which} at t = ${options.t}` });
      const towards = which === "x";
      const longest = Math.max(...part.arrows[which].map(([u, v]) => Math.hypot(u, v)));
      const arrows = part.places.map((place, i) => [place, part.arrows[which][i].map((each, k) => (towards ? part.alpha * each - place[k] : (each / longest) * 0.6))]);
      scatter(canvas, part.data, Math.max(...part.places.map(([x]) => x)) * 1.1, arrows);
      answer.body.append(canvas, el("p", { class: "quiet" }, `α = ${part.alpha.toFixed(3)}, σ = ${part.sigma.toFixed(3)}`));
    });
  };
  const fields = [choice("points", "x", POINTS, POINTS[0]), choice("schedule", "α(t), σ(t)", SCHEDULES, SCHEDULES[0]), number("t", "t", 0.5, { min: "0.02", max: "0.98", step: "0.02" }), choice("which", "x̂, ε̂, s, v", ["x", "eps", "score", "v"], "x")];
  return [form(title, words, fields, run), answer.node];
}

function backward(words, title) {
  const answer = new Answer();
  const run = (node) => {
    const plane = new Plane((frame) => `t = ${frame.time.toFixed(3)}`);
    const options = { points: node.elements.points.value, schedule: node.elements.schedule.value, steps: Number(node.elements.steps.value), fresh_noise: node.elements.fresh_noise.checked };
    answer.take((signal) => experiment("backward", options, signal), (part) => {
      plane.add(part);
      if (!plane.node.isConnected) answer.body.append(plane.node);
    });
  };
  return [form(title, words, [choice("points", "x", POINTS, POINTS[0]), choice("schedule", "α(t), σ(t)", SCHEDULES, SCHEDULES[0]), number("steps", "T", 30, { min: "2", max: "200" }), checked("fresh_noise", words.fresh)], run), answer.node];
}
