// Screens of one question each: between two examples, relatives, bits, cells and forecasts.
import { ownPicture } from "./own.js";
import { Answer, brief, captioned, chart, el, heat, number, picker, quiet, reproduce, seed, shown, steps as stepsField, values, walking } from "./parts.js";

const pictures = (part, words = {}) => el("div", { class: "pictures" }, ...Object.entries(part.pictures || {}).map(([name, bytes]) => shown(name, bytes, words[name])));

function asking(title, fields, run) {
  const form = el("form", { "aria-label": title, onsubmit: (event) => { event.preventDefault(); run(values(form)); } }, ...fields, el("button", { class: "main" }, "Ask"));
  return form;
}

const STEPS = 50;

export function betweenScreen({ ask }) {
  const [between, kin] = [new Answer(), new Answer()];
  const [a, b] = [picker("From held-out example", ask, null, 0), picker("to", ask, null, 1)];
  const one = asking("Interpolate", [number("n", "Examples", 9, { min: "2", max: "32" }), number("t", "Mix at time", "", { min: "0.01", max: "1", step: "0.01", placeholder: "codes" }), seed()], (options) =>
    between.take((signal) => ask("interpolate", { ...options, a: a.value, b: b.value, walk: options.t ? { steps: STEPS } : {} }, signal), (part) => between.body.append(pictures(part, { between: "from the one to the other" }), reproduce(part, "interpolation"))),
  );
  const two = asking("Relatives", [number("n", "Relatives", 6, { min: "1", max: "16" }), stepsField(), seed()], ({ steps, ...options }) =>
    kin.take((signal) => ask("relatives", { ...options, example: a.value, walk: walking(steps) }, signal), (part) => kin.body.append(part.pictures ? pictures(part) : reproduce(part, "relatives"))),
  );
  return el(
    "div",
    {},
    el("h2", {}, "Between two examples"),
    quiet(`Each example has a code: the noise that the model's flow, which has no randomness, moves it to. What lies between two codes moves back to examples. If you name a time, noisy versions of both are mixed there instead, and walk back in ${STEPS} steps.`),
    el("div", { class: "sides" }, a.node, b.node),
    one,
    between.node,
    el("h2", {}, "Relatives of the first"),
    quiet("Samples that share a noisy version with it: the later the time of that version, the less they have in common."),
    two,
    kin.node,
  );
}

export function bitsScreen({ about, ask }) {
  const answer = new Answer();
  let own = null;
  const said = (words) => (answer.word.textContent = words);
  const chosen = el("div", {});
  const example = picker("Held-out example", ask, () => { own = null; chosen.replaceChildren(); });
  const disk = about.kind === "image" ? ownPicture(about, (canvas, bytes) => { own = bytes; canvas.className = "heat"; chosen.replaceChildren(captioned(canvas, "your picture")); said(""); }, said) : null;
  const form = asking("Likelihood", [number("terms", "Terms", 20, { min: "4", max: "100" }), seed()], (options) => {
    let first = null;
    answer.take((signal) => ask("likelihood", { ...options, ...(own === null ? { example: example.value } : { pixels: own }) }, signal), (part) => {
      if (part.total !== undefined) answer.body.append(ofOne((first = part)));
      else answer.body.append(among(first, part, about), reproduce(part, "bound"));
    });
  });
  const words = "The variational bound says in how many bits (of continuous data, in how many nats) the model tells an example: the fewer, the more probable. An anomaly takes far more than other examples, and the maps show where.";
  return el("div", {}, el("h2", {}, "Where the bits are"), quiet(words), example.node, disk, chosen, form, answer.node);
}

function ofOne(part) {
  const middles = part.per_time.map((_, i) => (part.times[i] + part.times[i + 1]) / 2);
  const rows = Object.entries(part.parts).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value.toFixed(4))));
  const words = `what each stretch of time adds, ${part.unit}`;
  return el(
    "div",
    { class: "sides" },
    el("div", {}, el("p", {}, el("strong", {}, `${part.total.toFixed(4)} ${part.unit}`)), el("table", {}, el("tbody", {}, ...rows))),
    captioned(chart(words, [{ kind: "bars", x: middles, y: part.per_time }], { x: "time (0 is data, 1 is noise)", y: part.unit }), words),
  );
}

// What each place of an example adds: maps of a picture, bars along a series, and lines of a table's columns.
function places(own, part, kind) {
  const { places } = own;
  if (!places) return null;
  if (kind === "image") return maps(own, part.usual);
  if (kind === "series" && !Array.isArray(places.all[0])) return along(places, part.usual);
  if (!places.names.length || places.names.length !== places.all.length) return null;
  const head = ["column", places.unit, ...(part.usual ? ["on average"] : [])];
  const rows = places.names.map((name, i) => el("tr", {}, el("th", { scope: "row" }, name), ...[places.all, part.usual].filter(Boolean).map((each) => el("td", {}, each[i].toFixed(3)))));
  return el("table", {}, el("thead", {}, el("tr", {}, ...head.map((each) => el("th", { scope: "col" }, each)))), el("tbody", {}, ...rows));
}

function along({ all, unit }, usual) {
  const x = all.map((_, i) => i);
  const words = `${unit} at each place${usual ? "; the line is the mean of held-out examples" : ""}`;
  return captioned(chart(words, [{ kind: "bars", x, y: all }, ...(usual ? [{ kind: "other", x, y: usual }] : [])], { width: 640, x: "place", y: unit }), words);
}

function maps({ places, pictures: { example } }, usual) {
  const most = (rows) => Math.max(...rows.flat().map(Math.abs));
  const kinds = [["all times", places.all], ...places.stretches.map((each) => [`times ${each.start.toFixed(3)} to ${each.end.toFixed(3)}`, each.places]), ["the last step, to data", places.last]];
  const shownMap = el("div", {});
  const show = () => {
    const [name, rows] = kinds[Number(slider.value)];
    const words = `${places.unit} at each pixel, ${name}: ${rows.flat().reduce((a, b) => a + b, 0).toFixed(1)} in all; the deepest colour is ${most(rows).toPrecision(3)}`;
    slider.setAttribute("aria-valuetext", name);
    shownMap.replaceChildren(captioned(heat(rows, most(rows), words), words));
  };
  const slider = el("input", { type: "range", min: "0", max: String(kinds.length - 1), value: "0", oninput: show });
  show();
  const more = usual && places.all.map((row, y) => row.map((value, x) => value - usual[y][x]));
  const word = more && `more (red) or fewer (blue) ${places.unit} than the mean of held-out examples; the deepest colour is ${most(more).toPrecision(3)}`;
  return el("div", { class: "pictures maps" }, shown("example", example), el("div", {}, shownMap, el("label", {}, "Time: drag from all times to stretches of it", slider)), more ? captioned(heat(more, most(more), word), word) : null);
}

function among(own, part, about) {
  const [low, high] = [Math.min(...part.others, own.total), Math.max(...part.others, own.total)];
  const bins = 24;
  const counts = new Array(bins).fill(0);
  for (const each of part.others) counts[Math.min(bins - 1, Math.floor(((each - low) / (high - low || 1)) * bins))]++;
  const x = counts.map((_, i) => low + ((i + 0.5) / bins) * (high - low));
  const words = `This example has a larger bound than ${(part.above * 100).toFixed(0)} % of ${part.others.length} held-out examples.`;
  const histogram = chart(words, [{ kind: "bars", x, y: counts }, { kind: "mark", x: [own.total], y: [0] }], { x: own.unit, y: "examples" });
  return el("div", {}, places(own, part, about.kind), captioned(histogram, `${words} The red line is this example.`));
}

export function fillScreen({ about, ask }) {
  const answer = new Answer();
  const cells = about.columns.map((column) => el("input", { list: column.values.length ? `of ${column.name}` : "" }));
  const lists = about.columns.filter((column) => column.values.length).map((column) => el("datalist", { id: `of ${column.name}` }, ...column.values.slice(0, 100).map((value) => el("option", { value }))));
  const load = async (n) => {
    answer.word.textContent = "";
    try {
      for await (const part of ask("examples", { first: n, n: 1 })) part.rows[0].forEach((text, i) => (cells[i].value = text));
    } catch (error) {
      answer.word.textContent = error.message;
    }
  };
  const row = el("input", { type: "number", min: "0", value: "0", onchange: () => load(Number(row.value)) });
  load(0);
  const grid = el("div", { class: "cells", role: "group", "aria-label": "cells of the row" }, ...about.columns.map((column, i) => el("label", {}, column.name, cells[i])));
  const form = asking("Fill in", [number("n", "Draws", 50, { min: "1", max: "200" }), stepsField(), seed()], ({ steps, ...options }) =>
    answer.take((signal) => ask("fill", { ...options, walk: walking(steps), cells: cells.map((cell) => cell.value) }, signal), (part) => answer.body.append(filled(part.found), reproduce(part, "cells"))),
  );
  return el("div", {}, el("h2", {}, "Fill in a row"), quiet("Empty the cells that are to be drawn, given the others."), el("label", {}, "Held-out row", row), grid, ...lists, form, answer.node);
}

function filled(found) {
  const laws = (cell) => {
    if (!cell.quantiles) return Object.entries(cell.shares).map(([name, share]) => `${name} ${(share * 100).toFixed(0)} %`).join(", ");
    const [least, low, middle, high, most] = cell.quantiles.map(brief);
    return `${middle} in the middle; half between ${low} and ${high}; 90 % between ${least} and ${most}`;
  };
  const rows = found.map((cell) => el("tr", {}, el("th", { scope: "row" }, cell.column), el("td", {}, laws(cell)), el("td", {}, cell.draws.map(cell.quantiles ? brief : String).join(", "))));
  const head = ["column", "distribution", "first draws"].map((name) => el("th", { scope: "col" }, name));
  return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

export function forecastScreen({ about, ask }) {
  const answer = new Answer();
  const example = picker("Held-out series", ask);
  const form = asking("Forecast", [number("horizon", "Places", Math.max(1, Math.floor(about.size[0] / 4)), { min: "1" }), number("n", "Draws", 50, { min: "2", max: "200" }), stepsField(), seed()], ({ steps, ...options }) =>
    answer.take((signal) => ask("forecast", { ...options, walk: walking(steps), example: example.value }, signal), (part) => answer.body.append(...fans(part), reproduce(part, "forecast"))),
  );
  return el("div", {}, el("h2", {}, "Forecast"), quiet("The last places of a held-out series are hidden, and drawn given those before them."), example.node, form, answer.node);
}

// One fan chart for each channel: the series, bands of 50 % and 90 %, the middle, and a few draws.
function fans(part) {
  return part.series.map((truth, c) => {
    const start = truth.length - part.horizon;
    const x = part.quantiles["0.5"][c].map((_, i) => start + i);
    const q = (level) => part.quantiles[level][c];
    const words = "the long line: the series, with what came; red: the middle of the draws, with half and 90 % of them in the bands; thin: some draws";
    return captioned(chart(
      `forecast of the last ${part.horizon} places of channel ${c}`,
      [
        { kind: "band", x, y: q("0.05"), y2: q("0.95") },
        { kind: "band", x, y: q("0.25"), y2: q("0.75") },
        ...part.draws.map((each) => ({ kind: "thin", x, y: each[c] })),
        { kind: "line", x: truth.map((_, i) => i), y: truth },
        { kind: "other", x, y: q("0.5") },
      ],
      { width: 640, x: "place", y: `channel ${c}` },
    ), words);
  });
}
