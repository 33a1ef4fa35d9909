// All runs, and training: a form of the options, what it would cost, live curves, stop and resume.
import { events, getJSON, picture } from "./api.js";
import { captioned, chart, choice, el, field, quiet } from "./parts.js";

export function runsScreen({ state, reload, open }) {
  const watched = el("section", { "aria-label": "a run" });
  const table = el(
    "table",
    { class: "runs" },
    el("thead", {}, el("tr", {}, ...["run", "data", "model", "step", ""].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...Object.entries(state.runs).map(([name, run]) => row(name, run, watched, open, reload))),
  );
  return el("div", {}, el("h2", {}, "Runs"), quiet("A run is a model with its training. Open one to ask it; watch one to see its curve and its samples, live while it trains."), Object.keys(state.runs).length ? table : el("p", {}, "There is no run yet."), watched, form(state, watched, reload));
}

function row(name, run, watched, open, reload) {
  const act = (word, action) => el("button", { type: "button", onclick: action, "aria-label": `${word} ${name}` }, word);
  const steps = run.steps ? `${run.step} of ${run.steps}` : String(run.step);
  const stopped = !run.trains && run.steps && run.step < run.steps;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, name),
    el("td", {}, run.source || "?"),
    el("td", {}, run.model || "?"),
    el("td", {}, run.trains ? `${steps}, in training` : steps),
    el("td", { class: "acts" }, act("Open", () => open(name)), act("Watch", () => watch(name, watched, reload)), stopped ? act("Resume", () => begin(`runs/${encodeURIComponent(name)}/resume`, {}, watched, reload)) : null),
  );
}

async function begin(path, body, watched, reload) {
  try {
    const started = await getJSON(path, body);
    await watch(started.name, watched, reload);
  } catch (error) {
    watched.replaceChildren(el("p", { class: "error", role: "alert" }, error.message));
  }
}

let watching = null;

async function watch(name, watched, reload) {
  watching?.abort();
  const control = (watching = new AbortController());
  const refused = (error) => watched.append(el("p", { class: "error", role: "alert" }, error.message));
  const stop = el("button", { type: "button", onclick: () => getJSON(`runs/${encodeURIComponent(name)}/stop`, {}).catch(refused) }, "Stop and save");
  const [word, curve, samples, lines] = [el("p", { "aria-live": "polite" }), el("div"), el("div", { class: "pictures" }), el("pre")];
  watched.replaceChildren(el("h2", {}, name), word, stop, el("div", { class: "sides" }, curve, samples), lines);
  let seen = null;
  try {
    for await (const news of events(`runs/${encodeURIComponent(name)}/watch`, undefined, control.signal)) {
      stop.hidden = !news.trains;
      word.textContent = `step ${news.step} of ${news.steps ?? "?"}${news.trains ? ", in training" : news.exit_code ? `, ended with code ${news.exit_code}` : ""}`;
      watched.dataset.state = news.trains ? "trains" : "ended";
      curve.replaceChildren(curveOf(news.metrics));
      lines.textContent = (news.lines || []).join("\n");
      if (news.samples && news.samples !== seen) {
        seen = news.samples;
        samples.replaceChildren(el("figure", {}, el("img", { src: await picture(`runs/${encodeURIComponent(name)}/samples`), alt: "samples on the way" }), el("figcaption", {}, news.samples)));
      }
    }
  } catch (error) {
    if (control.signal.aborted) return;
    refused(error);
  }
  await reload(false).catch(refused);
}

function curveOf(metrics) {
  const losses = metrics.filter((each) => Number.isFinite(each.loss));
  const held = metrics.filter((each) => Number.isFinite(each.held_out_loss));
  if (losses.length < 2) return el("p", { class: "quiet" }, "The curve begins with the second line of metrics.");
  return captioned(chart("training loss by step, and held-out loss", [{ kind: "thin", x: losses.map((each) => each.step), y: losses.map((each) => each.loss) }, { kind: "other", x: held.map((each) => each.step), y: held.map((each) => each.held_out_loss) }], { x: "step", y: "loss" }), "grey: loss of the training batches; red: loss of held-out examples");
}

function form(state, watched, reload) {
  const said = el("pre", { "aria-live": "polite", hidden: true });
  const controls = state.options.map((option) => {
    const control = option.values.length ? el("select", {}, el("option", { value: "" }, "default"), ...option.values.map((value) => el("option", { value }, value))) : el("input", { placeholder: "default" });
    control.name = option.name;
    return el("label", {}, el("strong", {}, option.name), control, el("span", { class: "quiet" }, option.about || option.need));
  });
  const asked = () => {
    const options = {};
    for (const control of node.elements) if (control.name.match(/[.]|^model$/) && control.value !== "") options[control.name] = control.value.trim();
    return { name: node.elements.name.value, source: node.elements.source.value, options };
  };
  const plan = async () => {
    said.hidden = false;
    said.textContent = "…";
    try {
      said.textContent = (await getJSON("plan", asked())).lines.join("\n");
    } catch (error) {
      said.textContent = (error.lines || [error.message]).join("\n");
    }
  };
  const node = el(
    "form",
    { "aria-label": "training", onsubmit: (event) => { event.preventDefault(); begin("train", asked(), watched, reload); } },
    choice("source", "Data", state.sources, state.sources[0]),
    field("name", "Name of the run", el("input", { required: true, pattern: "[a-z0-9][a-z0-9\\-]{0,39}", value: "" })),
    el("details", { class: "wide" }, el("summary", {}, "Options"), el("div", { class: "options" }, ...controls)),
    el("button", { type: "button", onclick: plan }, "What would it make, and cost?"),
    el("button", { class: "main" }, "Train"),
  );
  return el("section", { "aria-label": "train" }, el("h2", {}, "Train"), quiet("An option that you leave open is chosen from the data. Ask for the cost first: nothing is trained then."), node, said);
}
