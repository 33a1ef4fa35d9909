// Samples as they form: two settings side by side, a slider over time, and four views of each state.
import { Answer, choice, el, number, reproduce, seed, shown, values } from "./parts.js";

const SAMPLERS = ["", "ancestral", "ddim", "heun", "dpm-solver", "single-step", "adams", "ipndm", "euler-maruyama"];
const GRIDS = ["", "uniform", "quadratic", "log-snr", "karras", "angle"];
const VIEWS = { x_t: "noisy data x_t", x: "estimate of the clean data", eps: "estimate of the noise", score: "score" };

export function walkScreen({ about, ask }) {
  const first = side("A", about, ask);
  const second = side("B", about, ask);
  second.node.hidden = true;
  const both = el("input", { type: "checkbox", onchange: () => (second.node.hidden = !both.checked) });
  return el(
    "div",
    {},
    el("h2", {}, "Walk from noise to data"),
    el("label", { class: "line" }, both, "Two settings side by side; the same seed starts from the same noise"),
    el("div", { class: "sides" }, first.node, second.node),
  );
}

function side(name, about, ask) {
  const answer = new Answer();
  const form = el(
    "form",
    { "aria-label": `settings ${name}`, onsubmit: (event) => { event.preventDefault(); run(); } },
    number("n", "Samples", 16, { min: "1", max: "64" }),
    seed(),
    number("steps", "Steps", "", { min: "1", max: "1000", placeholder: "default" }),
    choice("sampler", "Sampler", SAMPLERS),
    choice("grid", "Grid", GRIDS),
    about.classes.length ? choice("label", "Label", ["", ...about.classes]) : null,
    about.classes.length ? number("guidance", "Guidance", 1, { min: "0", step: "0.1" }) : null,
    el("button", { class: "main" }, "Sample"),
  );
  const run = () => {
    const { steps, sampler, grid, ...options } = values(form);
    const walk = Object.fromEntries(Object.entries({ steps, sampler, grid }).filter(([, value]) => value !== undefined));
    const film = new Film();
    answer.take((signal) => ask("walk", { ...options, walk }, signal), (part) => {
      if (part.time !== undefined) film.add(part);
      else film.end(part);
      if (!film.node.isConnected) answer.body.append(film.node);
      if (part.command) answer.body.append(reproduce(part, "samples"));
    });
  };
  return { node: el("section", { "aria-label": `walk ${name}` }, form, answer.node) };
}

class Film {
  constructor() {
    this.frames = [];
    this.place = el("input", { type: "range", min: "0", max: "0", value: "0", "aria-label": "time of the walk", oninput: () => this.show() });
    this.time = el("output", {});
    this.pictures = el("div", { class: "pictures" });
    this.node = el("div", {}, el("p", { class: "row" }, this.place, this.time), this.pictures);
  }

  add(part) {
    this.frames.push(part);
    this.place.max = String(this.frames.length - 1);
    this.place.value = this.place.max;
    this.show();
  }

  end(part) {
    this.add({ time: 0, pictures: part.pictures });
  }

  show() {
    const frame = this.frames[Number(this.place.value)];
    this.time.textContent = `t = ${frame.time.toFixed(3)}`;
    this.place.setAttribute("aria-valuetext", this.time.textContent);
    this.pictures.replaceChildren(...Object.entries(frame.pictures).map(([name, bytes]) => shown(name, bytes, this.words(name, frame))));
  }

  words(name, frame) {
    const words = VIEWS[name] || name;
    return name === "score" ? `${words}, in units of ${frame.score_scale.toPrecision(3)}` : words;
  }
}
