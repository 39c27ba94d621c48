// What is held about the guest, their way back, and erasing them: shown, changed, and told with a receipt.

import { endLink, erase, held, makeLink } from "./api.js";
import { sure } from "./ask.js";
import { moment, number, say, tell } from "./say.js";
import { hand } from "./zip.js";

const part = (id) => document.getElementById(id);

/** Says what went wrong beside the buttons that were pressed; nothing when there is no text. */
const warn = (text) => tell("yours-problem", text);

/** Fills a description list with [term, values] pairs. */
function describe(list, pairs) {
  list.textContent = "";
  for (const [term, values] of pairs) {
    const dt = document.createElement("dt");
    dt.textContent = term;
    list.append(dt);
    for (const value of values) {
      const dd = document.createElement("dd");
      dd.textContent = value;
      list.append(dd);
    }
  }
}

function facts(body) {
  const consents = body.consents.map((consent) =>
    say("held-consent", { n: moment(consent.given_at), text: consent.text, language: consent.language }),
  );
  return [
    [say("held-event"), [body.event]],
    [say("held-joined"), [moment(body.joined_at)]],
    [say("held-selfie"), [say("held-no-selfie")]],
    [say("held-vectors"), [number(body.enrolments)]],
    [say("held-people"), [number(body.people.length)]],
    [say("held-consents"), consents.length ? consents : [say("none")]],
    [say("held-matches"), [number(body.matches.length)]],
    [say("held-never"), [say(body.never_matched ? "yes" : body.never_match_held ? "held-never-held" : "no")]],
    [say("held-link"), [say(body.return_link ? "yes" : "no")]],
    [say("held-faces-until"), [body.faces_until ? moment(body.faces_until) : say("held-open")]],
    [say("held-photos-until"), [body.photos_until ? moment(body.photos_until) : say("held-open")]],
  ];
}

function receiptOf(receipt) {
  return [
    [say("erased-vectors"), [number(receipt.enrolments)]],
    [say("erased-consents"), [number(receipt.consents)]],
    [say("erased-matches"), [number(receipt.matches)]],
    ...(receipt.return_link ? [[say("held-link"), [say("erased-link")]]] : []),
    [say("erased-at"), [moment(receipt.erased_at)]],
    ...(receipt.never_matched ? [[say("held-never"), [say("erased-never")]]] : []),
    ...(receipt.never_match_held ? [[say("held-never"), [say("held-never-held")]]] : []),
  ];
}

const inWords = (title, pairs) => [title, ...pairs.map(([term, values]) => `${term}: ${values.join("; ")}`), ""].join("\n");

/** Wires the section; `gone` is called after everything was erased. */
export function yourData(gone) {
  const [box, toggle] = [part("held"), part("show-held")];
  const text = (title, pairs) => new Blob([inWords(title, pairs)], { type: "text/plain" });

  function hide() {
    box.hidden = true;
    toggle.setAttribute("aria-expanded", "false");
  }

  async function show() {
    const answer = await held();
    warn("");
    if (answer.code !== "ok") {
      warn(say(answer.code === "offline" ? "offline" : "failed"));
      return;
    }
    describe(part("held-list"), facts(answer.body));
    part("held-save").onclick = () => {
      hand(new Blob([JSON.stringify(answer.body, null, 2)], { type: "application/json" }), "findme-held.json");
    };
    box.hidden = false;
    toggle.setAttribute("aria-expanded", "true");
  }

  toggle.addEventListener("click", () => (box.hidden ? show() : hide()));

  part("erase").addEventListener("click", async () => {
    if (!(await sure(part("erase-dialog"), say("erase-ask")))) return;
    const answer = await erase();
    warn("");
    if (answer.code !== "ok") {
      warn(say("erase-failed"));
      return;
    }
    hide();
    showLink("");
    const pairs = receiptOf(answer.body);
    describe(part("receipt-list"), pairs);
    part("receipt-save").onclick = () => {
      const title = `${part("receipt-title").textContent} · ${document.querySelector(".event").textContent}`;
      hand(text(title, pairs), "findme-receipt.txt");
    };
    gone();
    part("receipt").hidden = false;
    scrollTo(0, 0);
    part("receipt").focus({ preventScroll: true });
  });

  /** The link while it can still be seen: it is shown once. */
  function showLink(link) {
    part("link-box").hidden = !link;
    part("link-text").value = link;
    part("link-said").textContent = "";
  }

  part("link-make").addEventListener("click", async () => {
    const answer = await makeLink();
    warn(answer.code === "ok" ? "" : say(answer.code === "offline" ? "offline" : "failed"));
    if (answer.code !== "ok") return;
    // What it says of links is no longer so.
    hide();
    showLink(answer.body.link);
    part("link-share").hidden = !navigator.share;
    part("link-text").focus({ preventScroll: true });
    part("link-text").select();
    part("link-box").scrollIntoView({ block: "nearest" });
  });
  part("link-copy").addEventListener("click", async () => {
    part("link-text").select();
    try {
      await navigator.clipboard.writeText(part("link-text").value);
    } catch {
      // Plain http has no clipboard of its own.
      document.execCommand("copy");
    }
    part("link-said").textContent = say("link-copied");
  });
  part("link-share").addEventListener("click", () => {
    navigator.share({ url: part("link-text").value, title: document.querySelector(".event").textContent }).catch(() => {});
  });
  part("link-end").addEventListener("click", async () => {
    const answer = await endLink();
    warn(answer.code === "ok" ? "" : say(answer.code === "offline" ? "offline" : "failed"));
    if (answer.code !== "ok") return;
    hide();
    showLink("");
    part("link-ended").textContent = say("link-ended");
  });
  return { hide };
}
