// Requests to the service: responses, their durations, and problems as sentences.

import { readTiming } from "./timing.js";

export class Problem extends Error {}

const NO_ANSWER = "The service does not answer. Is it still running?";

const listeners = [];
export const onAnswer = (listener) => listeners.push(listener);

export async function ask(path, { signal } = {}) {
  const start = performance.now();
  let response;
  let body;
  try {
    response = await fetch(path, { signal });
    body = await response.blob();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(NO_ANSWER);
  }
  const answer = { path, status: response.status, headers: response.headers, body, ms: performance.now() - start };
  answer.timing = readTiming(response.headers.get("Server-Timing"));
  for (const listener of listeners) listener(answer);
  if (!response.ok) throw new Problem(await sentence(response, body));
  return answer;
}

export async function askJson(path, options) {
  const answer = await ask(path, options);
  const value = await readJson(answer);
  options?.signal?.throwIfAborted();
  return value;
}

export async function readJson({ body }) {
  const text = await body.text();
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem(NO_ANSWER); // a proxy's page, for example
  }
}

async function sentence(response, body) {
  let told = `the service answered ${response.status}`;
  try {
    const { detail } = JSON.parse(await body.text());
    if (typeof detail === "string" && detail) told = detail;
  } catch {
    // Not a problem document of the service: a proxy's error page, for example.
  }
  const wait = response.headers.get("Retry-After");
  const words = told.charAt(0).toUpperCase() + told.slice(1) + (/[.?!]$/.test(told) ? "" : ".");
  return wait ? `${words} Try again in ${wait} s.` : words;
}
