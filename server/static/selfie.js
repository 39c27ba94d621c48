// From the ticked box to the answer: one picture, one question where there are several faces, one clear word otherwise.

import { held, later, selfie } from "./api.js";
import { shrink } from "./picture.js";
import { say, language } from "./say.js";

const part = (id) => document.getElementById(id);

/** What is said for a problem's code. */
const words = {
  "no-face": () => say("no-face"),
  "not-a-picture": () => say("not-a-picture"),
  "unsupported-media-type": () => say("not-a-picture"),
  "too-large": () => say("too-large"),
  "faces-unavailable": () => say("faces-unavailable"),
  "consent-required": () => say("consent-first"),
  "offline": () => say("offline-selfie"),
  "busy": () => say("busy"),
  "too-many-requests": () => say("busy"),
};

/** People that one session finds. */
const MOST_PEOPLE = 5;

/** Whether this browser lets a page have the camera itself; asked without loading what works it. */
const hasCamera = () => isSecureContext && navigator.mediaDevices && navigator.mediaDevices.getUserMedia;

/**
 * Wires the selfie form. `found` is called after the server found and enrolled the guest; `back` when they would rather
 * see what there is already.
 * @returns `ask(withWayBack, person)` shows the form; `nextPerson()` is the number of somebody to add, null when there are enough
 */
export function selfieForm(found, back) {
  const [form, looking, shown, faces] = [part("selfie"), part("looking"), part("shown"), part("faces")];
  const [consent, problem] = [part("consent"), part("selfie-problem")];
  let picture = null;
  /** Who is looked for: 0 is the guest. */
  let person = 0;
  let denied = false;

  const only = (section) => {
    form.hidden = section !== form;
    looking.hidden = section !== looking;
  };

  function complain(text) {
    problem.textContent = text;
    problem.hidden = !text;
    if (text) problem.scrollIntoView({ block: "nearest" });
  }

  function ask(withWayBack, who = 0) {
    person = who;
    consent.checked = false;
    for (const each of form.querySelectorAll("[data-for]")) each.hidden = (each.dataset.for === "me") !== (who === 0);
    complain("");
    part("selfie-back").hidden = !withWayBack;
    for (const other of form.querySelectorAll(".or")) other.hidden = withWayBack;
    only(form);
  }

  async function send(face) {
    faces.textContent = "";
    part("looking-title").textContent = say("looking");
    part("looking-hint").textContent = say("looking-hint");
    part("again").hidden = true;
    looking.classList.add("busy");
    only(looking);
    looking.focus();
    const answer = await selfie(picture, language, person, face);
    looking.classList.remove("busy");
    if (answer.code === "ok") {
      done();
      found();
    } else if (answer.code === "many-faces") {
      choose(answer.body.faces || []);
    } else if (answer.code === "not-joined") {
      location.reload();
    } else {
      done();
      only(form);
      complain((words[answer.code] || (() => say("failed")))());
    }
  }

  /** Several faces: a button over each, the guest taps theirs. */
  function choose(boxes) {
    part("looking-title").textContent = say("many-title");
    part("looking-hint").textContent = say("many-hint");
    part("again").hidden = false;
    const percent = (fraction) => `${(100 * fraction).toFixed(2)}%`;
    // Numbered as one reads, asked for as the server counts.
    const read = boxes.map((box, n) => ({ box, n })).sort((a, b) => a.box.x - b.box.x);
    read.forEach(({ box, n }, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "face";
      button.setAttribute("aria-label", say("face", { n: at + 1 }));
      button.style.left = percent(box.x);
      button.style.top = percent(box.y);
      button.style.width = percent(box.width);
      button.style.height = percent(box.height);
      button.addEventListener("click", () => send(n));
      faces.append(button);
    });
    // The heading, not a face: none is chosen yet.
    looking.focus({ preventScroll: true });
  }

  function done() {
    URL.revokeObjectURL(shown.src);
    shown.removeAttribute("src");
    picture = null;
    looking.hidden = true;
  }

  async function take(input) {
    const file = input.files[0];
    if (!file) return;
    if (!consent.checked) {
      input.value = "";
      refuse();
      return;
    }
    const small = await shrink(file);
    // The same picture again must count as a change.
    input.value = "";
    use(small);
  }

  function use(blob) {
    complain("");
    picture = blob;
    shown.src = URL.createObjectURL(picture);
    send();
  }

  /** The camera inside the page; where there is none to be had, the phone's own from the next tap on. */
  async function live() {
    const camera = await later("camera.js");
    const taken = await camera.takePicture();
    if (taken === "denied") {
      denied = true;
      complain(say("camera-denied"));
      part("camera").focus({ preventScroll: true });
    } else if (taken) {
      use(taken);
    }
  }

  /** The lowest number that nobody has. */
  async function nextPerson() {
    const answer = await held();
    const taken = new Set(answer.code === "ok" ? answer.body.people : []);
    for (let who = 1; who < MOST_PEOPLE; who += 1) if (!taken.has(who)) return who;
    return null;
  }

  function refuse() {
    complain(say("consent-first"));
    consent.focus({ preventScroll: true });
  }

  for (const input of [part("camera"), part("picture")]) {
    // Asked before the camera opens, not after.
    input.addEventListener("click", (event) => {
      if (!consent.checked) {
        event.preventDefault();
        refuse();
      } else if (input.id === "camera" && hasCamera() && !denied && part("camera-dialog").showModal) {
        event.preventDefault();
        live();
      }
    });
    input.addEventListener("change", () => take(input));
  }
  consent.addEventListener("change", () => complain(""));
  part("selfie-form").addEventListener("submit", (event) => event.preventDefault());
  part("again").addEventListener("click", () => {
    done();
    ask(!part("selfie-back").hidden, person);
  });
  part("selfie-back").addEventListener("click", () => {
    form.hidden = true;
    back();
  });
  return { ask, nextPerson };
}
