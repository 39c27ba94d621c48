// Signing in: the token from the field, or from the address's fragment, which no server ever sees.

import { signIn } from "./desk.js";
import { say } from "./say.js";

const form = document.getElementById("sign-in");
const said = document.getElementById("said");

async function enter(token) {
  const answer = await signIn(token.trim());
  if (answer.code === "ok") {
    location.reload();
    return;
  }
  said.textContent = say(answer.code === "offline" ? "offline-desk" : "refused");
  form.token.select();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  enter(form.token.value);
});

if (location.hash.length > 1) {
  const token = decodeURIComponent(location.hash.slice(1));
  // Not kept in the browser's history.
  history.replaceState(null, "", location.pathname);
  enter(token);
}
