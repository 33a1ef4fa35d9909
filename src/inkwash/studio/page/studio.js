// The page: which run it is about, and which screen it shows.
import { ask, getJSON } from "./api.js";
import { betweenScreen, bitsScreen, fillScreen, forecastScreen } from "./ask.js";
import { inpaintScreen } from "./inpaint.js";
import { el } from "./parts.js";
import { lectureScreen } from "./lecture.js";
import { runsScreen } from "./runs.js";
import { walkScreen } from "./walk.js";

const SCREENS = {
  Runs: { needs: () => true, make: runsScreen },
  Walk: { needs: (about) => about, make: walkScreen },
  Inpaint: { needs: (about) => about?.kind === "image", make: inpaintScreen },
  Between: { needs: (about) => about && !about.columns.length, make: betweenScreen },
  Bits: { needs: (about) => about, make: bitsScreen },
  "Fill in": { needs: (about) => about?.columns.length, make: fillScreen },
  Forecast: { needs: (about) => about?.kind === "series", make: forecastScreen },
  Lecture: { needs: () => true, make: lectureScreen },
};

const [select, nav, line, main] = ["run", "screens", "about", "screen"].map((id) => document.getElementById(id));
const page = { state: null, run: null, about: null, screen: "Runs", shows: 0, leave: new AbortController(), opening: new AbortController() };

function show(name) {
  page.screen = name;
  page.shows++;
  page.leave.abort();
  page.leave = new AbortController();
  const leave = page.leave.signal;
  const asked = (question, options, signal) => ask(page.run, question, options, signal ? AbortSignal.any([signal, leave]) : leave);
  mark();
  document.title = `${name} – inkwash studio`;
  main.replaceChildren(SCREENS[name].make({ state: page.state, about: page.about, ask: asked, reload, open: openRun }));
}

function mark() {
  for (const button of nav.children) button.toggleAttribute("aria-current", false);
  nav.querySelector(`[data-screen="${page.screen}"]`)?.setAttribute("aria-current", "page");
}

function buttons() {
  const fitting = Object.entries(SCREENS).filter(([, screen]) => screen.needs(page.about));
  nav.replaceChildren(...fitting.map(([name]) => el("button", { type: "button", "data-screen": name, onclick: () => show(name) }, name)));
}

// Say what is open, or what went wrong.
function say(words, isError = false) {
  line.textContent = words;
  line.className = isError ? "error" : "";
}

function close() {
  page.opening.abort();
  page.run = null;
  page.about = null;
  say("");
  buttons();
  show("Runs");
}

async function openRun(name, screen = "Walk") {
  page.opening.abort();
  page.leave.abort();
  const opening = (page.opening = new AbortController()).signal;
  const { shows } = page;
  page.run = name;
  page.about = null;
  buttons(); // the others need what the run is
  mark();
  select.value = name;
  say(`opening ${name} …`);
  try {
    for await (const part of ask(name, "about", {}, opening)) page.about = part;
    say(`${page.about.data}; ${page.about.source}, step ${page.about.step} of ${page.about.steps}`);
  } catch (error) {
    if (opening.aborted) return; // another run was opened meanwhile
    say(error.message, true);
  }
  buttons();
  if (page.shows !== shows) return mark(); // another screen was opened meanwhile
  show(page.about && SCREENS[screen].needs(page.about) ? screen : "Runs");
}

async function reload(redraw = true) {
  page.state = await getJSON("start");
  select.replaceChildren(el("option", { value: "" }, "none"), ...Object.keys(page.state.runs).map((name) => el("option", { value: name }, name)));
  select.value = page.run || "";
  if (redraw) show(page.screen);
}

select.addEventListener("change", () => (select.value ? openRun(select.value) : close()));
try {
  page.state = await getJSON("start");
  buttons();
  await reload();
  if (page.state.first) await openRun(page.state.first, page.screen === "Runs" ? "Walk" : page.screen);
} catch (error) {
  say(error.message, true);
}
