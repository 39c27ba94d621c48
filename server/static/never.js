// «Never match me»: a ticked box, one selfie, and the word of what was done.

import { liftNeverMatch, neverMatch } from "./api.js";
import { shrink } from "./picture.js";
import { language, say } from "./say.js";

const part = (id) => document.getElementById(id);

/** What is said for a problem's code; «no connection» is the selfie's own word. */
const words = {
  "many-faces": "no-face",
  "unsupported-media-type": "not-a-picture",
  "offline": "offline-selfie",
  "too-many-requests": "busy",
  "consent-required": "consent-first",
};
const said = ["no-face", "not-a-picture", "too-large", "faces-unavailable", "busy"];

/** Wires the form; `done` is called after the guest's own enrolment went with it. */
export function neverForm(done) {
  const complain = (text) => {
    part("never-problem").textContent = text;
    part("never-problem").hidden = !text;
  };

  function show(open) {
    part("never").hidden = !open;
    part("main").classList.toggle("asking", open);
    part("never-consent").checked = false;
    complain("");
    if (open) {
      part("never-consent").focus({ preventScroll: true });
      part("never").scrollIntoView();
    }
  }

  /** What became of the wish: `active`, `held`, or nothing. */
  function set(state) {
    part("never-on").hidden = !state;
    part("never-open").hidden = !!state;
    part("never-active").hidden = state !== "active";
    part("never-held").hidden = state !== "held";
  }

  part("never-open").addEventListener("click", () => show(true));
  part("never-back").addEventListener("click", () => show(false));
  part("never-form").addEventListener("submit", (event) => event.preventDefault());
  part("never-camera").addEventListener("click", (event) => {
    if (part("never-consent").checked) return;
    event.preventDefault();
    complain(say("consent-first"));
  });
  part("never-camera").addEventListener("change", async () => {
    const input = part("never-camera");
    const file = input.files[0];
    if (!file || !part("never-consent").checked) return;
    complain("");
    const picture = await shrink(file);
    input.value = "";
    const answer = await neverMatch(picture, language);
    if (answer.code !== "ok") {
      const word = words[answer.code] || answer.code;
      complain(say(said.includes(word) || word in words || word === "offline-selfie" ? word : "failed"));
      return;
    }
    show(false);
    set(answer.body.state);
    part("never-said").textContent = say("never-done");
    part("never-on").scrollIntoView({ block: "center" });
    done();
  });
  part("never-lift").addEventListener("click", async () => {
    const answer = await liftNeverMatch();
    part("never-said").textContent = answer.code === "ok" ? "" : say("failed");
    if (answer.code === "ok") set(null);
  });
}
