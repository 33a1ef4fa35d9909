// Samples as they form: two settings side by side, a slider over time, and four views of each state.
import { Answer, brief, captioned, chart, choice, el, number, quiet, reproduce, seed, shown, values } from "./parts.js";

const VIEWS = { x_t: "noisy data x_t", x: "estimate x̂ of the clean data", eps: "estimate ε̂ of the noise", score: "score" };

export function walkScreen({ about, ask }) {
  const bits = new Bits(about, ask);
  const first = side("A", about, ask, bits);
  const second = side("B", about, ask, bits);
  second.node.hidden = true;
  const both = el("input", { type: "checkbox", onchange: () => (second.node.hidden = !both.checked) });
  return el(
    "div",
    {},
    el("h2", {}, "Walk from noise to data"),
    quiet("Time runs from 1, which is noise, to 0, which is data. At each step the model estimates the clean data from the noisy data, and moves a little towards it. Drag the slider back once the samples are there."),
    el("label", { class: "line" }, both, "Two settings side by side; the same seed starts from the same noise"),
    el("div", { class: "sides" }, first.node, second.node),
  );
}

function side(name, about, ask, bits) {
  const answer = new Answer();
  const form = el(
    "form",
    { "aria-label": `settings ${name}`, onsubmit: (event) => { event.preventDefault(); run(); } },
    number("n", "Samples", 16, { min: "1", max: "64" }),
    seed(),
    number("steps", "Steps", "", { min: "1", max: "1000", placeholder: "default" }),
    choice("sampler", "Sampler", ["", ...about.choices.sampler]),
    choice("grid", "Grid", ["", ...about.choices.grid]),
    about.classes.length ? choice("label", "Label", ["", ...about.classes], "", "any") : null,
    about.classes.length ? number("guidance", "Guidance", 1, { min: "0", step: "0.1" }) : null,
    el("button", { class: "main" }, "Sample"),
  );
  const run = () => {
    const { steps, sampler, grid, ...options } = values(form);
    const walk = Object.fromEntries(Object.entries({ steps, sampler, grid }).filter(([, value]) => value !== undefined));
    const film = new Film(about);
    answer.take((signal) => ask("walk", { ...options, walk }, signal), (part) => {
      if (part.time !== undefined) film.add(part);
      else film.end(part);
      if (!film.node.isConnected) answer.body.append(film.node);
      if (part.command) answer.body.append(reproduce(part, "samples"));
    }).then(() => answer.node.dataset.state === "done" && bits.beside(film));
  };
  return { node: el("section", { "aria-label": `walk ${name}` }, form, answer.node) };
}

// What each stretch of time adds to the bound: asked for once, after the first samples.
class Bits {
  constructor(about, ask) {
    this.about = about;
    this.ask = ask;
  }

  async asked() {
    for await (const part of this.ask("by-time", {})) if (part.per_time) return part;
  }

  async beside(film) {
    if (this.about.model !== "diffusion") return;
    try {
      film.compare(await (this.found ??= this.asked()));
    } catch (error) {
      this.found = undefined; // the next samples ask again
      if (error.name !== "AbortError") film.node.append(el("p", { class: "error", role: "alert" }, error.message));
    }
  }
}

const rowsOf = (columns, rows) => el(
  "table",
  {},
  el("thead", {}, el("tr", {}, ...columns.map(({ name }) => el("th", { scope: "col" }, name)))),
  el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell, i) => el("td", {}, columns[i].values.length ? cell : brief(cell)))))),
);

class Film {
  constructor(about) {
    this.about = about;
    this.frames = [];
    this.bits = null;
    this.place = el("input", { type: "range", min: "0", max: "0", value: "0", "aria-label": "time of the walk", oninput: () => this.show() });
    this.time = el("output", {});
    this.pictures = el("div", { class: about.size.length ? "pictures views" : "pictures" });
    this.beside = el("div", {});
    this.node = el("div", {}, el("p", { class: "row" }, this.place, this.time), this.pictures, this.beside);
  }

  add(part) {
    this.frames.push(part);
    this.place.max = String(this.frames.length - 1);
    this.place.value = this.place.max;
    this.show();
  }

  end(part) {
    this.add({ time: 0, pictures: part.pictures, rows: part.rows });
  }

  compare({ times, per_time: y, unit, examples }) {
    const x = y.map((_, i) => (times[i] + times[i + 1]) / 2);
    const words = `where the model's bits are in time: what each stretch adds to the bound of ${examples} held-out examples, ${unit}; the line is the slider's time`;
    this.bits = chart(words, [{ kind: "bars", x, y }, { kind: "mark", x: [0], y: [0] }], { x: "time", y: unit, height: 170 });
    this.beside.replaceChildren(captioned(this.bits, words));
    this.show();
  }

  show() {
    const frame = this.frames[Number(this.place.value)];
    this.time.textContent = `t = ${frame.time.toFixed(3)}`;
    this.place.setAttribute("aria-valuetext", this.time.textContent);
    this.bits?.moveMark(frame.time);
    this.pictures.replaceChildren(...Object.entries(frame.pictures).map(([name, bytes]) => shown(name, bytes, this.words(name, frame))));
    if (frame.rows) this.pictures.append(rowsOf(this.about.columns, frame.rows));
  }

  words(name, frame) {
    const words = VIEWS[name] || name;
    return name === "score" ? `${words}, in units of ${frame.score_scale.toPrecision(3)}` : words;
  }
}
