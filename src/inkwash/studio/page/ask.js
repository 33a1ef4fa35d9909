// Screens of one question each: between two examples, relatives, bits, cells and forecasts.
import { Answer, chart, el, field, number, picker, reproduce, seed, shown, values } from "./parts.js";

const pictures = (part, words = {}) => el("div", { class: "pictures" }, ...Object.entries(part.pictures || {}).map(([name, bytes]) => shown(name, bytes, words[name])));

function asking(title, fields, answer, run) {
  const form = el("form", { "aria-label": title, onsubmit: (event) => { event.preventDefault(); run(values(form)); } }, ...fields, el("button", { class: "main" }, "Ask"));
  return form;
}

export function betweenScreen({ ask }) {
  const [between, kin] = [new Answer(), new Answer()];
  const [a, b] = [picker("From held-out example", ask, null, 0), picker("to", ask, null, 1)];
  const one = asking("Interpolate", [number("n", "Examples", 9, { min: "2", max: "32" }), number("t", "Mix at time", "", { min: "0.01", max: "1", step: "0.01", placeholder: "codes" }), seed()], between, (options) =>
    between.take((signal) => ask("interpolate", { ...options, a: a.value, b: b.value }, signal), (part) => between.body.append(pictures(part), reproduce(part, "interpolation"))),
  );
  const two = asking("Relatives", [number("n", "Relatives", 6, { min: "1", max: "16" }), seed()], kin, (options) =>
    kin.take((signal) => ask("relatives", { ...options, example: a.value }, signal), (part) => kin.body.append(part.pictures ? pictures(part) : reproduce(part, "relatives"))),
  );
  return el("div", {}, el("h2", {}, "Between two examples"), el("div", { class: "sides" }, a.node, b.node), one, between.node, el("h2", {}, "Relatives of the first, by the time of the noisy version they share"), two, kin.node);
}

export function bitsScreen({ ask }) {
  const answer = new Answer();
  const example = picker("Held-out example", ask);
  const form = asking("Likelihood", [number("terms", "Terms", 20, { min: "4", max: "100" }), seed()], answer, (options) => {
    let own = null;
    answer.take((signal) => ask("likelihood", { ...options, example: example.value }, signal), (part) => {
      if (part.total !== undefined) answer.body.append(ofOne((own = part)));
      else answer.body.append(among(own, part), reproduce(part, "bound"));
    });
  });
  return el("div", {}, el("h2", {}, "Where the bits are"), el("p", { class: "quiet" }, "The variational bound of one example: the smaller, the more probable."), example.node, form, answer.node);
}

function ofOne(part) {
  const middles = part.per_time.map((_, i) => (part.times[i] + part.times[i + 1]) / 2);
  const rows = Object.entries(part.parts).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value.toFixed(4))));
  return el(
    "div",
    {},
    el("p", {}, `${part.total.toFixed(4)} ${part.unit}`),
    el("table", {}, el("tbody", {}, ...rows)),
    chart(`what each stretch of time adds, ${part.unit}`, [{ kind: "bars", x: middles, y: part.per_time }], { x: "time (0 is data, 1 is noise)", y: part.unit }),
  );
}

function among(own, part) {
  const [low, high] = [Math.min(...part.others, own.total), Math.max(...part.others, own.total)];
  const bins = 24;
  const counts = new Array(bins).fill(0);
  for (const each of part.others) counts[Math.min(bins - 1, Math.floor(((each - low) / (high - low || 1)) * bins))]++;
  const x = counts.map((_, i) => low + ((i + 0.5) / bins) * (high - low));
  const words = `This example has a larger bound than ${(part.above * 100).toFixed(0)} % of ${part.others.length} held-out examples.`;
  return el("div", {}, el("p", {}, words), chart(words, [{ kind: "bars", x, y: counts }, { kind: "mark", x: [own.total], y: [0] }], { x: own.unit, y: "examples" }));
}

export function fillScreen({ about, ask }) {
  const answer = new Answer();
  const cells = about.columns.map((column) => el("input", { "aria-label": column.name, list: column.values.length ? `of ${column.name}` : "" }));
  const lists = about.columns.filter((column) => column.values.length).map((column) => el("datalist", { id: `of ${column.name}` }, ...column.values.slice(0, 100).map((value) => el("option", { value }))));
  const load = async (n) => {
    for await (const part of ask("examples", { first: n, n: 1 })) part.rows[0].forEach((text, i) => (cells[i].value = text));
  };
  const row = el("input", { type: "number", min: "0", value: "0", onchange: () => load(Number(row.value)).catch((error) => (answer.word.textContent = error.message)) });
  load(0).catch((error) => (answer.word.textContent = error.message));
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...about.columns.map((column) => el("th", { scope: "col" }, column.name)))), el("tbody", {}, el("tr", {}, ...cells.map((cell) => el("td", {}, cell)))));
  const form = asking("Fill in", [number("n", "Draws", 50, { min: "1", max: "200" }), seed()], answer, (options) =>
    answer.take((signal) => ask("fill", { ...options, cells: cells.map((cell) => cell.value) }, signal), (part) => answer.body.append(filled(part.found), reproduce(part, "cells"))),
  );
  return el("div", {}, el("h2", {}, "Fill in a row"), el("p", { class: "quiet" }, "Empty the cells that are to be drawn, given the others."), el("label", {}, "Held-out row", row), table, ...lists, form, answer.node);
}

function filled(found) {
  const text = (cell) => (cell.quantiles ? `5 %: ${cell.quantiles[0]} · half: ${cell.quantiles[1]} to ${cell.quantiles[3]} · middle: ${cell.quantiles[2]} · 95 %: ${cell.quantiles[4]}` : Object.entries(cell.shares).map(([name, share]) => `${name} ${(share * 100).toFixed(0)} %`).join(" · "));
  return el("table", {}, el("tbody", {}, ...found.map((cell) => el("tr", {}, el("th", { scope: "row" }, cell.column), el("td", {}, text(cell))))));
}

export function forecastScreen({ about, ask }) {
  const answer = new Answer();
  const example = picker("Held-out series", ask);
  const form = asking("Forecast", [number("horizon", "Places", Math.max(1, Math.floor(about.size[0] / 4)), { min: "1" }), number("n", "Draws", 50, { min: "2", max: "200" }), seed()], answer, (options) =>
    answer.take((signal) => ask("forecast", { ...options, example: example.value }, signal), (part) => answer.body.append(...fans(part), reproduce(part, "forecast"))),
  );
  return el("div", {}, el("h2", {}, "Forecast"), example.node, form, answer.node);
}

// One fan chart for each channel: the series, bands of 50 % and 90 %, the middle, and a few draws.
function fans(part) {
  return part.series.map((truth, c) => {
    const start = truth.length - part.horizon;
    const x = part.quantiles["0.5"][c].map((_, i) => start + i);
    const q = (level) => part.quantiles[level][c];
    return chart(
      `forecast of the last ${part.horizon} places of channel ${c}`,
      [
        { kind: "band", x, y: q("0.05"), y2: q("0.95") },
        { kind: "band", x, y: q("0.25"), y2: q("0.75") },
        ...part.draws.map((each) => ({ kind: "thin", x, y: each[c] })),
        { kind: "line", x: truth.map((_, i) => i), y: truth },
        { kind: "other", x, y: q("0.5") },
      ],
      { width: 640, x: "place", y: `channel ${c}` },
    );
  });
}

export { field };
