// A live camera with a frame and hints, where the browser lets a page have one. What it says about light it measures
// itself; where faces are it asks the server now and then, which keeps nothing of it. Loaded only when it is wanted.

import { look } from "./api.js";
import { language, say } from "./say.js";

const part = (id) => document.getElementById(id);

/** Longer side of the picture that is taken, and of those that are only looked at, in pixels. */
const SIDE = 1280;
const GLANCE = 480;
/** Milliseconds between measurements of light, and between looks at faces; and looks in one sitting. */
const LIGHT_EVERY = 300;
const LOOK_EVERY = 1400;
const LOOKS = 20;
/** Mean brightness of the frame (0 to 255) below or above which no face can be told. */
const DARK = 45;
const BRIGHT = 232;
/** Height of a face in the picture below which it is too far, and above which it is too near. */
const FAR = 0.24;
const NEAR = 0.85;
/** A second face counts from this share of the first one's height on. */
const SECOND = 0.6;

export const available = () => isSecureContext && navigator.mediaDevices && navigator.mediaDevices.getUserMedia;

/** What is to be said about faces; `good` when nothing is in the way. */
export function judge(faces) {
  const [first, second] = faces;
  if (!first) return "hint-no-face";
  if (second && second.height >= SECOND * first.height) return "hint-two";
  if (first.height < FAR) return "hint-far";
  if (first.height > NEAR) return "hint-near";
  const middle = first.x + first.width / 2;
  return Math.abs(middle - 0.5) > 0.25 ? "hint-middle" : "hint-good";
}

function draw(video, side) {
  const scale = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas;
}

const jpeg = (canvas, quality) => new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));

/** Mean brightness of the middle of the picture, where the frame is. */
function brightness(video) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 24;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const [w, h] = [video.videoWidth, video.videoHeight];
  context.drawImage(video, w / 4, h / 6, w / 2, (2 * h) / 3, 0, 0, 24, 24);
  const { data } = context.getImageData(0, 0, 24, 24);
  let sum = 0;
  for (let at = 0; at < data.length; at += 4) sum += 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
  return sum / (data.length / 4);
}

/**
 * Opens the camera.
 * @returns {Promise<Blob|null|"denied">} the picture; null when it was closed; "denied" when there is no camera to be had
 */
export async function takePicture() {
  const [dialog, video, hint, shutter] = [part("camera-dialog"), part("camera-video"), part("camera-hint"), part("shutter")];
  let stream;
  try {
    const wish = { facingMode: "user", width: { ideal: SIDE }, height: { ideal: SIDE } };
    stream = await navigator.mediaDevices.getUserMedia({ video: wish, audio: false });
  } catch {
    return "denied";
  }
  video.srcObject = stream;
  hint.textContent = say("hint-frame");
  dialog.dataset.hint = "";
  shutter.disabled = true;
  dialog.showModal();
  await video.play().catch(() => {});
  shutter.disabled = false;
  shutter.focus();

  let light = null;
  let looks = 0;
  let looking = false;
  const tell = (key) => {
    if (dialog.dataset.hint === key) return;
    dialog.dataset.hint = key;
    hint.textContent = say(key);
  };
  const lights = setInterval(() => {
    if (!video.videoWidth) return;
    const now = brightness(video);
    const was = light;
    light = now < DARK ? "hint-dark" : now > BRIGHT ? "hint-bright" : null;
    if (light) tell(light);
    else if (was) tell("hint-frame");
  }, LIGHT_EVERY);
  const faces = setInterval(async () => {
    if (looking || light || looks >= LOOKS || !video.videoWidth || document.hidden) return;
    looking = true;
    looks += 1;
    const answer = await look(await jpeg(draw(video, GLANCE), 0.7), language);
    looking = false;
    // Without an answer the light alone is told; the picture is looked at when it is taken anyway.
    if (answer.code === "ok" && dialog.open && !light) tell(judge(answer.body.faces));
  }, LOOK_EVERY);

  return new Promise((resolve) => {
    let taken = null;
    const shoot = async () => {
      shutter.disabled = true;
      taken = await jpeg(draw(video, SIDE), 0.9);
      dialog.close();
    };
    const closed = () => {
      clearInterval(lights);
      clearInterval(faces);
      for (const track of stream.getTracks()) track.stop();
      video.srcObject = null;
      shutter.removeEventListener("click", shoot);
      resolve(taken);
    };
    shutter.addEventListener("click", shoot);
    dialog.addEventListener("close", closed, { once: true });
    part("camera-close").onclick = () => dialog.close();
  });
}
