// A picture of the user's, chosen or dropped in, as the bytes that a model of pictures reads.
import { el } from "./parts.js";

// Where a picture is chosen or dropped. `taken` gets its canvas and its bytes, and `refused` a word on a file that is none.
export function ownPicture(about, taken, refused) {
  const [height, width] = about.size;
  const take = async (file) => {
    let canvas;
    try {
      canvas = await fitted(file, width, height, about.channels === 4);
    } catch {
      return refused(`${file.name}: got no picture that the browser reads, need a PNG, JPEG or WebP file`);
    }
    taken(canvas, bytesOf(canvas, about.channels));
  };
  const chosen = el("input", { type: "file", accept: "image/*", onchange: () => chosen.files[0] && take(chosen.files[0]) });
  const node = el("label", { class: "drop" }, `or a picture of yours, chosen or dropped here; its middle is scaled to ${width} × ${height}`, chosen);
  node.addEventListener("dragover", (event) => event.preventDefault());
  node.addEventListener("drop", (event) => { event.preventDefault(); if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]); });
  return [1, 3, 4].includes(about.channels) ? node : null;
}

// A picture from disk at the model's size: its middle, if it has another shape; white behind it unless it stays see-through.
async function fitted(file, width, height, keepsAlpha) {
  const bitmap = await createImageBitmap(file);
  const canvas = el("canvas", { width, height });
  const context = canvas.getContext("2d");
  const zoom = Math.max(width / bitmap.width, height / bitmap.height);
  const [w, h] = [bitmap.width * zoom, bitmap.height * zoom];
  context.fillStyle = "white";
  if (!keepsAlpha) context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.imageSmoothingEnabled = zoom !== 1;
  context.drawImage(bitmap, (width - w) / 2, (height - h) / 2, w, h);
  return canvas;
}

// The bytes of a canvas in base64, channels last; one channel is the brightness.
function bytesOf(canvas, channels) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let text = "";
  for (let i = 0; i < data.length; i += 4) {
    const pixel = channels === 1 ? [Math.round(0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2])] : data.subarray(i, i + channels);
    text += String.fromCharCode(...pixel);
  }
  return btoa(text);
}
