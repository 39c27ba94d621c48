// A guest who comes back by their link. The secret stands behind `#`, which is sent to nobody; it is taken out of the
// browser's history before anything else is done.

import { comeBack } from "./api.js";

const secret = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

async function come() {
  const answer = secret ? await comeBack(secret) : { code: "not-joined" };
  if (answer.code === "ok") {
    location.replace("/me");
  } else {
    const offline = answer.code === "offline";
    document.getElementById("coming").hidden = true;
    document.getElementById(offline ? "no-connection" : "nowhere").hidden = false;
  }
}

come();
