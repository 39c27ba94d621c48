// What a guest does on their own page: take a selfie, add somebody, look at a photo, save, see what is held, erase it.

import "./expiry.js";
import { yourData } from "./held.js";
import { neverForm } from "./never.js";
import { say, tell } from "./say.js";
import { selfieForm } from "./selfie.js";
import "./shell.js";
import { Viewer } from "./viewer.js";
import { saveAll } from "./zip.js";

const part = (id) => document.getElementById(id);

/** Wires everything to the page that shows the photos; the viewer. */
export function wire({ enrolled, showPhotos, forget, lookNow }) {
  const viewer = new Viewer(part("viewer"));
  const form = selfieForm(found, () => enrolled(true));
  const data = yourData(gone);
  saveAll();

  function found() {
    forget();
    data.hide();
    part("receipt").hidden = true;
    enrolled(true);
    scrollTo(0, 0);
    part("found-title").focus({ preventScroll: true });
    lookNow();
  }

  function gone() {
    showPhotos([]);
    forget();
    enrolled(false);
    form.ask(false);
  }

  neverForm(() => {
    showPhotos([]);
    forget();
    data.hide();
    enrolled(false);
  });

  function askAgain(person) {
    part("found").hidden = true;
    form.ask(true, person);
    scrollTo(0, 0);
    part("consent").focus({ preventScroll: true });
  }

  part("new-selfie").addEventListener("click", () => askAgain(0));
  part("add-person").addEventListener("click", async () => {
    const person = await form.nextPerson();
    tell("yours-problem", person === null ? say("people-full") : "");
    if (person !== null) askAgain(person);
  });
  // What is pressed before this line would do nothing; tests wait for it, people are slower.
  document.documentElement.dataset.ready = "";
  return viewer;
}
