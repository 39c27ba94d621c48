// The operator's page: events, their machines and terms, and photos that need attention.

import { sure } from "./ask.js";
import * as api from "./desk.js";
import { count, date, moment, number, say } from "./say.js";
import { system } from "./system.js";

const part = (id) => document.getElementById(id);

function tell(text) {
  part("said").textContent = text;
  part("said").hidden = !text;
}

/** Says what failed; true when it went well. */
function went(answer) {
  if (answer.code === "token-refused") location.reload();
  tell(answer.code === "ok" ? "" : (answer.body && answer.body.detail) || say(answer.code === "offline" ? "offline-desk" : "not-done"));
  return answer.code === "ok";
}

const day = (text) => (text ? text.slice(0, 10) : "");

function machine(event, token, again) {
  const li = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = token.label;
  const seen = token.revoked_at
    ? say("revoked")
    : token.last_seen ? say("seen", { n: moment(token.last_seen) }) : say("never-seen");
  li.append(name, ` · ${seen} `);
  if (!token.revoked_at) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.textContent = say("revoke");
    button.addEventListener("click", async () => went(await api.revokeToken(event.id, token.id)) && again());
    li.append(button);
  }
  return li;
}

/** A button that asks for something and then looks again. */
function action(key, ask, again) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button";
  button.textContent = say(key);
  button.addEventListener("click", async () => went(await ask()) && again());
  return button;
}

const line = (...parts) => {
  const li = document.createElement("li");
  li.append(...parts);
  return li;
};

/** People who are never to be matched; those that wait are confirmed or lifted. */
function wishesOf(event, list, again) {
  if (!list.length) return [line(say("no-attention"))];
  return list.map((wish) => {
    const li = line(`${moment(wish.given_at)} · ${say(`wish-${wish.state}`)} `);
    if (wish.state === "held") li.append(action("wish-confirm", () => api.confirmSuppression(event.id, wish.id), again), " ");
    li.append(action("wish-lift", () => api.liftSuppression(event.id, wish.id), again));
    return li;
  });
}

function draw(event) {
  const li = part("event").content.firstElementChild.cloneNode(true);
  const find = (name) => li.querySelector(name);
  const counts = event.counts;
  const all = counts.received + counts.indexed + counts.failed;
  find("h3").textContent = event.name;
  const state = [
    say("counts", { n: number(all), of: number(counts.indexed), failed: number(counts.failed) }),
    event.faces ? event.faces_until && say("until-faces", { n: date(event.faces_until) }) : say("no-faces"),
    event.photos_until && say("until-photos", { n: date(event.photos_until) }),
  ];
  find(".state").textContent = state.filter(Boolean).join(" · ");
  find(".link").href = `/e/${event.join_code}`;
  find(".link").textContent = `${location.host}/e/${event.join_code}`;
  find(".qr").href = `/api/admin/events/${event.id}/qr.svg`;

  const machines = async () => {
    const answer = await api.tokens(event.id);
    if (went(answer)) find(".machines").replaceChildren(...answer.body.map((token) => machine(event, token, machines)));
  };
  find(".tokens").addEventListener("toggle", machines);
  find(".token").addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const answer = await api.createToken(event.id, find(".token").label.value);
    if (!went(answer)) return;
    find(".fresh").textContent = say("token-fresh", { n: answer.body.photographer_token });
    find(".fresh").hidden = false;
    find(".token").reset();
    machines();
  });

  const terms = find(".terms");
  terms.name.value = event.name;
  terms.faces_until.value = day(event.faces_until);
  terms.photos_until.value = day(event.photos_until);
  terms.gallery_open.checked = event.gallery_open;
  terms.closed.checked = Boolean(event.closed_at);
  terms.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const change = { name: terms.name.value, gallery_open: terms.gallery_open.checked, closed: terms.closed.checked };
    for (const key of ["faces_until", "photos_until"]) {
      const wanted = terms[key].value;
      if (wanted !== day(event[key])) change[key] = wanted ? `${wanted}T23:59:59Z` : 0;
    }
    if (went(await api.changeEvent(event.id, change))) events();
  });

  const wishes = async () => {
    const answer = await api.suppressions(event.id);
    if (went(answer)) find(".wishes ul").replaceChildren(...wishesOf(event, answer.body, wishes));
  };
  find(".wishes").addEventListener("toggle", wishes);
  for (const [name, ask] of [["reindex", api.reindex], ["rematch", api.rematch]]) {
    find(`.${name}`).addEventListener("click", async () => {
      const answer = await ask(event.id);
      if (went(answer)) tell(count("done", answer.body.changed));
    });
  }

  find(".delete").addEventListener("click", async () => {
    if (!(await sure(part("delete-dialog"), say("delete-event-ask")))) return;
    if (went(await api.deleteEvent(event.id))) events();
  });
  return li;
}

async function events() {
  const answer = await api.events();
  if (went(answer)) part("events").replaceChildren(...answer.body.map(draw));
}

async function attention() {
  const answer = await api.attention();
  if (answer.code !== "ok") return;
  const list = answer.body.photos.map((photo) =>
    line(
      `${photo.name} · ${photo.reason || photo.trouble || photo.state} · ${moment(photo.accepted_at)} `,
      action("retry-one", () => api.retry(photo.id), attention)
    )
  );
  if (!list.length) {
    const li = document.createElement("li");
    li.textContent = say("no-attention");
    list.push(li);
  }
  part("attention").replaceChildren(...list);
  part("retry").hidden = !answer.body.photos.length;
}

part("new").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  const form = part("new");
  const faces = form.faces.checked;
  const answer = await api.createEvent({
    name: form.elements.name.value,
    policy: faces ? "attested" : "off",
    attested: faces,
    faces_days: Number(form.faces_days.value),
    photos_days: Number(form.photos_days.value),
  });
  if (!went(answer)) return;
  const created = answer.body;
  const lines = [say("created", { n: created.guest_link }), say("token-fresh", { n: created.photographer_token })];
  part("created").replaceChildren(...lines.map((line) => Object.assign(document.createElement("p"), { textContent: line })));
  part("created").hidden = false;
  form.reset();
  events();
});
part("retry").addEventListener("click", async () => {
  const answer = await api.retryAll();
  if (went(answer)) tell(count("done", answer.body.changed));
  attention();
});
part("sign-out").addEventListener("click", async () => {
  await api.signOut();
  location.reload();
});
events();
attention();
system(went);
