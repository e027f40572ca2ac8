// The page: read the models, then show the view of the address, and again whenever the address changes.

import { ask, askJson, onAnswer } from "./api.js";
import { showControls } from "./controls.js";
import { byId, element } from "./dom.js";
import { Latest } from "./latest.js";
import { thereAndBack } from "./limits.js";
import { markModel, showCard, showModels } from "./models.js";
import { showOperands } from "./operands.js";
import { showParameters } from "./parameters.js";
import { addPin, pinTitle, showPins } from "./pins.js";
import { showShare } from "./share.js";
import { put, show, shownFormat } from "./show.js";
import { Store, VIEWS, readState, writeState } from "./state.js";
import { addRequest, inWords } from "./timing.js";
import { shownUrl, walkUrl } from "./urls.js";
import { fillWall, frameWall, leaveWall, markTile, wallUrl } from "./wall.js";

const store = new Store();
const problem = (text) => (byId("problem").textContent = text);
const tell = (text) => (byId("result").textContent = text);
const fail = (error) => refuse(error.message);
const refuse = (text) => {
  shown.isRefused = true; // the next response clears it
  problem(text);
};
const accept = () => {
  if (shown.isRefused) problem("");
  shown.isRefused = false;
};
const stage = new Latest(byId("picture"), (error) => {
  shown.sample = null; // so that it is requested again
  stopPlaying();
  fail(error);
});
const wall = new Latest(byId("wall"), (error) => {
  shown.wall = null;
  byId("tiles").replaceChildren(element("p", { class: "problem" }, error.message));
});
const operands = new Latest(byId("controls"), fail);
const shown = { model: null, view: null, wall: null, sample: null, news: [] };
let models = [];
let controls = null;
let updateParameters = () => {};
let isPlaying = false;

const modelOf = (state) => models.find(({ name }) => name === state.model) ?? models[0];

function render(state) {
  const model = modelOf(state);
  if (shown.model !== model) showModel(model);
  if (shown.view !== state.view) showView(state);
  controls.update(state);
  updateParameters(state);
  showStage(state, model);
  if (state.view === "pins") return;
  showWall(state, model);
  operands.ask((signal) => showOperands(state, model, signal));
  markTile(state.view === "sample" ? state.seed : null);
}

function showModel(model) {
  for (const queue of [stage, wall, operands]) queue.cancel();
  Object.assign(shown, { model, wall: null, sample: null });
  markModel(model);
  showCard(model);
  updateParameters = showParameters(model, changeValue);
}

function showView(state) {
  for (const queue of [stage, operands]) queue.cancel();
  Object.assign(shown, { view: state.view, sample: null });
  isPlaying = false;
  controls = showControls(state.view, { change: (patch, how) => store.change({ at: null, ...patch }, how), play, problem: refuse });
  byId("stage-title").textContent = VIEWS[state.view];
  document.body.dataset.view = state.view;
}

function showViews(state) {
  const links = Object.entries(VIEWS).map(([view, text]) => element("a", {
    href: writeState({ ...state, view, at: null }), "aria-current": view === state.view ? "page" : null,
    onclick: (event) => { event.preventDefault(); store.change({ view, at: null }); },
  }, text));
  const had = byId("views").contains(document.activeElement);
  byId("views").replaceChildren(...links);
  if (had) byId("views").querySelector("[aria-current]").focus();
}

function showStage(state, model) {
  if (shown.views !== writeState(state)) {
    shown.views = writeState(state);
    showViews(state);
  }
  if (state.view === "pins") {
    if (shown.sample === "pins") return;
    shown.sample = "pins";
    byId("share").replaceChildren();
    tell("");
    problem("");
    stage.ask((signal) => showPins(byId("picture"), (hash) => store.change(readState(hash)), signal));
    return;
  }
  const url = shownUrl(state, model, { format: shownFormat(model) });
  if (shown.sample === url) return accept(); // already shown, so clear a refusal since then
  shown.sample = url;
  stopPlaying();
  const words = `${pinTitle(state)} of ${model.name}`;
  showShare(state, model, () => pin(state, model), tell);
  stage.ask(async (signal) => {
    const answer = await ask(url, { signal });
    await show(byId("picture"), model, answer, words, signal);
    accept();
    tell([`${words.charAt(0).toUpperCase()}${words.slice(1)}`, inWords(answer), ...shown.news.splice(0)].join(" · "));
    if (!state.at) await noticeSwap(model, answer, signal);
  });
}

function showWall(state, model) {
  const url = wallUrl(state, model);
  if (shown.wall === url) return;
  const isNew = shown.wall === null || shown.first !== state.wall;
  Object.assign(shown, { wall: url, first: state.wall });
  leaveWall();
  if (isNew) frameWall(model, state, (patch) => store.change(patch));
  wall.ask(async (signal) => {
    await fillWall(model, state, choose, signal, (work) => wall.ask(work));
    markTile(store.state.view === "sample" ? store.state.seed : null);
  });
}

function choose(seed) {
  const name = controls.target();
  store.change(name ? { [name]: seed, at: null } : { view: "sample", seed, at: null });
}

function changeValue(name, value, how) {
  const { [name]: _, ...values } = store.state.values;
  store.change({ at: null, values: value === null ? values : { ...values, [name]: value } }, how);
}

function pin(state, model) {
  tell(addPin(state, model) ? "Pinned; it stays in this browser." : "This browser keeps nothing for this page.");
}

// The walk is requested when it is played, and shown until anything changes.
function play() {
  const { state } = store;
  const model = modelOf(state);
  if (isPlaying) {
    shown.sample = null;
    return render(state);
  }
  const moves = shownFormat(model) === "png";
  const url = walkUrl(state, model, moves ? thereAndBack(model) : { format: "json" });
  isPlaying = true;
  byId("play").textContent = "Stop";
  const words = `the walk from ${state.a} to ${state.b} of ${model.name}`;
  stage.ask(async (signal) => {
    const answer = await ask(url, { signal });
    await show(byId("picture"), model, answer, words, signal);
    accept();
    tell(`T${words.slice(1)} · ${inWords(answer)}`);
  });
}

function stopPlaying() {
  isPlaying = false;
  if (byId("play")) byId("play").textContent = "Play the walk";
}

// A model that was replaced while the page was open has another digest, and perhaps other parameters.
// While processes are replaced, one may list the old model and another answer by the new one, so the models are read again
// once for each action of the user.
async function noticeSwap(model, answer, signal) {
  const digest = answer.headers.get("X-Model-Digest");
  if (!digest || digest === model.digest || shown.isReread) return;
  shown.isReread = true;
  const { models: listed } = await askJson("/models", { signal });
  if (listed.find(({ name }) => name === model.name)?.digest === model.digest) return;
  takeModels(listed);
  shown.news = ["the model was replaced by a newer one"]; // shown with the new model's response
  shown.wall = shown.model = null;
  follow(store.state);
}

function takeModels(listed) {
  models = listed;
  showModels(models, modelOf(store.state), (name) => {
    problem("");
    store.change({ model: name, at: null, values: {} });
  });
}

async function start() {
  onAnswer(addRequest);
  try {
    takeModels((await askJson("/models")).models);
  } catch (error) {
    return fail(error);
  }
  store.listen((changed) => {
    shown.isReread = false;
    follow(changed);
  });
  store.start();
}

function follow(state) {
  if (state.model !== modelOf(state).name) return nameModel(state.model);
  if (shown.isMissed) problem("");
  shown.isMissed = false;
  render(state);
}

// An address, typed, of a link or of a pin, names no model, or one that is not served: then it gets the name of the model
// that is shown, and digest and values of the other one go.
function nameModel(wanted) {
  const { name } = modelOf(store.state);
  store.change(wanted ? { model: name, at: null, values: {} } : { model: name }, { replace: true });
  if (!wanted) return;
  problem(`There is no model '${wanted}' here; this is ${name}.`);
  shown.isMissed = true;
}

byId("controls").addEventListener("submit", (event) => event.preventDefault());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // or '#stage' would replace the view in the address
  byId("stage").focus();
});
start().finally(() => byId("main").removeAttribute("aria-busy"));
