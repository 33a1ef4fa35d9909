// Hide a part of an example by brush, and sample what may be there.
import { ownPicture } from "./own.js";
import { Answer, choice, el, number, picker, png, quiet, reproduce, seed, shown, steps as stepsField, values, walking } from "./parts.js";

export function inpaintScreen({ about, ask }) {
  const [height, width] = about.size;
  const answer = new Answer();
  const said = (words) => (answer.word.textContent = words);
  const brush = new Brush(width, height);
  let own = null;
  const example = picker("Held-out example", ask, async (n) => {
    own = null;
    said("");
    try {
      for await (const part of ask("examples", { first: n, n: 1 })) if (own === null && example.value === n) brush.paintOn(part.pictures[String(n)]); // unless another was chosen meanwhile
    } catch (error) {
      if (error.name !== "AbortError") said(error.message);
    }
  });
  const disk = ownPicture(about, (canvas, bytes) => { own = bytes; brush.paintOver(canvas); said(""); }, said);
  const form = el(
    "form",
    { "aria-label": "inpainting", onsubmit: (event) => { event.preventDefault(); run(); } },
    number("n", "Draws", 8, { min: "2", max: "32" }),
    seed(),
    stepsField(),
    choice("method", "Method", ["", ...about.choices.method]),
    about.classes.length ? choice("label", "Label", ["", ...about.classes], "", "any") : null,
    el("button", { class: "main" }, "Fill in"),
  );
  const run = () => {
    const { steps, ...options } = values(form);
    const asked = { ...options, ...(own === null ? { example: example.value } : { pixels: own }), hidden: brush.text(), walk: walking(steps) };
    answer.take((signal) => ask("inpaint", asked, signal), (part) => {
      const words = { known: "what is known", draws: "draws", mean: "their mean", spread: `their spread; white is ${part.widest.toPrecision(3)}` };
      answer.body.append(el("div", { class: "pictures" }, ...Object.entries(part.pictures).map(([name, bytes]) => shown(name, bytes, words[name]))), reproduce(part, "draws"));
    });
  };
  return el(
    "div",
    {},
    el("h2", {}, "Inpaint"),
    quiet("Paint over what is to be hidden, by mouse, touch or keys (arrows move the brush, space hides, backspace shows again). The model then draws what may be there, given the rest, which stays exactly as it is."),
    example.node,
    disk,
    el("div", { class: "sides" }, el("div", {}, brush.canvas, brush.word), el("div", {}, brush.controls, form)),
    answer.node,
  );
}

// A canvas on which the hidden places are painted, by mouse, touch or keyboard.
class Brush {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.hidden = new Uint8Array(width * height);
    this.at = [width >> 1, height >> 1];
    this.image = new Image();
    this.image.onload = () => this.draw();
    this.scale = Math.max(1, Math.floor(320 / Math.max(width, height)));
    this.size = el("input", { type: "number", min: "1", max: String(Math.max(width, height)), value: String(Math.max(1, Math.round(width / 6))) });
    this.erase = el("input", { type: "checkbox" });
    this.canvas = el("canvas", {
      class: "brush",
      width: width * this.scale,
      height: height * this.scale,
      tabindex: "0",
      role: "application",
      "aria-label": "picture to paint on: arrow keys move the brush, space hides, backspace shows again",
      onpointerdown: (event) => { this.canvas.setPointerCapture(event.pointerId); this.touch(event); },
      onpointermove: (event) => { if (event.buttons) this.touch(event); },
      onkeydown: (event) => this.key(event),
      onblur: () => this.draw(),
      onfocus: () => this.draw(),
    });
    this.word = el("p", { class: "quiet", "aria-live": "polite" });
    const half = (name, keep) => el("button", { type: "button", onclick: () => this.fill(keep) }, name);
    this.controls = el(
      "div",
      { class: "row" },
      el("label", {}, "Brush, in pixels", this.size),
      el("label", { class: "line" }, this.erase, "show again"),
      half("Hide the left half", (x) => x < width / 2),
      half("Hide the lower half", (x, y) => y >= height / 2),
      half("Show all", () => false),
    );
  }

  paintOver(picture) {
    this.own = picture;
    this.draw();
  }

  paintOn(bytes) {
    this.own = null;
    this.image.src = png(bytes);
  }

  text() {
    return this.hidden.join("");
  }

  fill(rule) {
    this.hidden.forEach((_, i) => (this.hidden[i] = rule(i % this.width, Math.floor(i / this.width)) ? 1 : 0));
    this.draw();
  }

  touch(event) {
    const box = this.canvas.getBoundingClientRect();
    this.at = [Math.floor(((event.clientX - box.left) / box.width) * this.width), Math.floor(((event.clientY - box.top) / box.height) * this.height)];
    this.stroke(this.erase.checked ? 0 : 1);
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (move) this.at = [Math.min(Math.max(this.at[0] + move[0], 0), this.width - 1), Math.min(Math.max(this.at[1] + move[1], 0), this.height - 1)];
    else if (event.key === " ") this.stroke(1);
    else if (event.key === "Backspace") this.stroke(0);
    else return;
    event.preventDefault();
    this.draw();
  }

  stroke(value) {
    const size = Number(this.size.value) || 1;
    const [left, top] = this.at.map((each) => each - Math.floor((size - 1) / 2));
    for (let y = Math.max(top, 0); y < Math.min(top + size, this.height); y++) {
      for (let x = Math.max(left, 0); x < Math.min(left + size, this.width); x++) this.hidden[y * this.width + x] = value;
    }
    this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.own) context.drawImage(this.own, 0, 0, this.canvas.width, this.canvas.height);
    else if (this.image.complete && this.image.naturalWidth) {
      const zoom = (this.image.naturalWidth) / (this.width + 2); // the sheet has a frame of one place
      context.drawImage(this.image, zoom, zoom, zoom * this.width, zoom * this.height, 0, 0, this.canvas.width, this.canvas.height);
    }
    context.fillStyle = "rgb(200 85 61 / 75%)";
    this.hidden.forEach((hidden, i) => {
      if (hidden) context.fillRect((i % this.width) * this.scale, Math.floor(i / this.width) * this.scale, this.scale, this.scale);
    });
    if (document.activeElement === this.canvas) {
      context.strokeStyle = "rgb(200 85 61)";
      context.lineWidth = 2;
      context.strokeRect(this.at[0] * this.scale, this.at[1] * this.scale, this.scale, this.scale);
    }
    this.word.textContent = `${this.hidden.reduce((a, b) => a + b, 0)} of ${this.hidden.length} places are hidden`;
  }
}
