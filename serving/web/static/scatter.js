// Plots of points: two components as a scatter plot, one as a histogram, more as curves; real data lies below samples.

import { drawn } from "./dom.js";

const SIDE = 400;
const BINS = 40;

// output: the card's; real, made: points or null; marked: one point; path: points in order.
export function plot(output, { real = null, made = [], marked = null, path = [] }, label) {
  const shapes = { 1: histogram, 2: scatter }[output.size] ?? curves;
  const svg = drawn("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img", "aria-label": label, class: "plot" });
  svg.append(
    drawn("rect", { x: 0.5, y: 0.5, width: SIDE - 1, height: SIDE - 1, class: "frame" }),
    ...shapes(output, { real, made, marked, path }));
  return svg;
}

const place = (value, low, high) => (SIDE * (value - low)) / (high - low);
const short = (value) => value.toFixed(1);

function scatter({ low, high }, { real, made, marked, path }) {
  const at = ([x, y]) => `${short(place(x, low[0], high[0]))} ${short(SIDE - place(y, low[1], high[1]))}`;
  const dots = (points, kind) => drawn("path", { class: `dots ${kind}`, d: points.map((point) => `M${at(point)}h0`).join("") });
  const shapes = [];
  if (low[0] < 0 && high[0] > 0) shapes.push(drawn("path", { class: "axis", d: `M${at([0, low[1]])}V0` }));
  if (low[1] < 0 && high[1] > 0) shapes.push(drawn("path", { class: "axis", d: `M${at([low[0], 0])}H${SIDE}` }));
  if (real) shapes.push(dots(real, "real"));
  if (made.length) shapes.push(dots(made, "made"));
  if (path.length) shapes.push(drawn("path", { class: "path", d: `M${path.map(at).join("L")}` }));
  if (marked) {
    const [cx, cy] = at(marked).split(" ");
    shapes.push(drawn("circle", { cx, cy, r: 7, class: "marked" }));
  }
  return shapes;
}

function histogram({ low, high }, { real, made, marked, path }) {
  const width = SIDE / BINS;
  const shares = (points) => {
    const counts = new Array(BINS).fill(0);
    for (const [x] of points) {
      const bin = Math.floor((BINS * (x - low[0])) / (high[0] - low[0]));
      if (bin >= 0 && bin < BINS) counts[bin] += 1 / points.length;
    }
    return counts;
  };
  const sets = [["real", real ?? []], ["made", [...made, ...path]]].map(([kind, points]) => [kind, shares(points)]);
  const top = Math.max(0.01, ...sets.flatMap(([, counts]) => counts)) * 1.08;
  const bar = (kind, share, bin) => drawn("rect", {
    class: `bar ${kind}`, x: short(bin * width + 0.5), width: width - 1,
    y: short(SIDE * (1 - share / top)), height: short((SIDE * share) / top),
  });
  const bars = sets.flatMap(([kind, counts]) => counts.flatMap((share, bin) => (share ? [bar(kind, share, bin)] : [])));
  const lines = marked ? [drawn("path", { class: "path", d: `M${short(place(marked[0], low[0], high[0]))} 0V${SIDE}` })] : [];
  return [...bars, ...lines];
}

function curves({ low, high, size }, { real, made, marked, path }) {
  const [least, most] = [Math.min(...low), Math.max(...high)];
  const at = (y, x) => `${short((SIDE * x) / (size - 1))} ${short(SIDE - place(y, least, most))}`;
  const line = (point, kind) => drawn("path", { class: `curve ${kind}`, d: `M${point.map(at).join("L")}` });
  const lines = (points, kind) => points.map((point) => line(point, kind));
  return [
    ...lines((real ?? []).slice(0, 40), "real"),
    ...lines([...made, ...path].slice(0, 60), "made"),
    ...lines(marked ? [marked] : [], "marked"),
  ];
}
