// The request addresses of a view.
// A route's parameter wins over a model's parameter of the same name: those that a latent may be called, too.

const OWN = {
  generate: ["cols"],
  mix: ["a", "b", "t"],
  walk: ["from", "to", "frames", "fps", "loop", "back"],
  arithmetic: ["a", "b", "c"],
};

function address(route, state, model, own) {
  const pairs = [["model", model.name], ...Object.entries(own)];
  for (const [name, value] of Object.entries(state.values)) {
    if (Object.hasOwn(model.parameters, name) && !OWN[route].includes(name)) pairs.push([name, value]);
  }
  return `/${route}?${pairs.map((pair) => pair.map(encodeURIComponent).join("=")).join("&")}`;
}

export function sampleUrl(state, model, more = {}) {
  const url = address("generate", state, model, { seed: state.seed, ...more });
  return state.at ? addressed(url, state.at) : url;
}

// The same at the permanent address by the model's digest.
export function immutableUrl(state, model, more = {}) {
  return addressed(address("generate", state, model, { seed: state.seed, ...more }), state.at ?? model.digest);
}

function addressed(url, digest) {
  return url.replace(/^\/generate\?model=[^&]*&/, `/models/${digest}/generate?`);
}

export function mixUrl(state, model, more = {}) {
  return address("mix", state, model, { a: state.a, b: state.b, t: state.t, ...more });
}

export function walkUrl(state, model, more = {}) {
  return address("walk", state, model, { from: state.a, to: state.b, ...more });
}

export function sumUrl(state, model, more = {}) {
  return address("arithmetic", state, model, { a: state.a, b: state.b, c: state.c, ...more });
}

// The single sample of a view; the view of pinned ones has none.
export function shownUrl(state, model, more = {}) {
  return { sample: sampleUrl, between: mixUrl, arithmetic: sumUrl }[state.view](state, model, more);
}
