// Requests of no more pixels than the service answers.

const { maxFrames, maxImages, maxPixels, maxScale } = document.documentElement.dataset;
const FRAMES = 24; // of a walk that names no number

const pixelsOf = ({ card: { output } }) => output.width * output.height;

// How many of the wanted pictures one answer may have, 1 at least.
export function fewer(model, wanted) {
  return Math.max(1, Math.min(wanted, Number(maxImages), Math.floor(maxPixels / pixelsOf(model))));
}

// The largest of the scales up to the wanted one that an answer of so many pictures may have.
export function scaled(model, pictures, wanted) {
  return Math.max(1, Math.min(wanted, Number(maxScale), Math.floor(Math.sqrt(maxPixels / pixelsOf(model) / pictures))));
}

// The parameters of a walk there and back, which shows each frame but the ends twice: fewer frames for large pictures.
export function thereAndBack(model, wanted = 1) {
  const frames = Math.max(2, Math.min(FRAMES, Number(maxFrames), Math.floor(maxPixels / pixelsOf(model) / 2) + 1));
  const scale = scaled(model, 2 * frames - 2, wanted);
  return { back: "on", ...(frames < FRAMES && { frames }), ...(wanted > 1 && { scale }), format: "webp" };
}
