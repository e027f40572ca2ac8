// The real data of toy games: points computed from the distribution of the card's data set.

function uniform(seed) { // mulberry32: the same points at each load of the page
  let s = seed;
  return () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const normal = (u) => Math.sqrt(-2 * Math.log(1 - u())) * Math.cos(2 * Math.PI * u());

const mixture = (modes, sd) => (u) => modes[Math.floor(u() * modes.length)].map((centre) => centre + sd * normal(u));

const RING = Array.from({ length: 8 }, (_, i) => [Math.cos((Math.PI * i) / 4), Math.sin((Math.PI * i) / 4)]);
const GRID = [-4, -2, 0, 2, 4].flatMap((x) => [-4, -2, 0, 2, 4].map((y) => [x, y]));

const parabola = (u) => {
  const x = 100 * (u() - 0.5);
  return [x, 10 + x * x];
};

const TOYS = {
  gaussian1d: (u) => [4 + 0.5 * normal(u)],
  parabola,
  "parabola-norm": (u) => {
    const [x, y] = parabola(u);
    return [x / 50, (y - 1260) / 1250];
  },
  ring8: mixture(RING, 0.01),
  grid25: mixture(GRID, 0.05),
};

// n points, or null for any other data set.
export function realPoints(data, n) {
  if (!Object.hasOwn(TOYS, data)) return null;
  const u = uniform(1);
  return Array.from({ length: n }, () => TOYS[data](u));
}
