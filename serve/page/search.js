/** The nearest paintings of the index to a picture. */

import { ask, Failure, pictureUrl } from "./api.js";
import { $, announce, make, makeButton, onSubmit, reveal } from "./dom.js";
import { Feedback } from "./feedback.js";
import { readable, signed } from "./words.js";
import { zones } from "./zone.js";

/** @typedef {import("./zone.js").Artwork} Artwork */

const zone = zones.picture;
const feedback = new Feedback("search", [zone]);

/** Names as they are shown, and as the service knows them. @type {Map<string, string>} */
const artists = new Map();

/** Offer the genres and artists of the index; without one, say so. @param {boolean} hasIndex */
export async function offerSearch(hasIndex) {
  if (hasIndex) return offer(await ask("/v1/filters"));
  $("search-lede").textContent =
    "This model has no index of paintings yet: write one with jobs/index.py and deploy the service again.";
  $("search-form").hidden = true;
}

/** @param {{genres: {name: string, count: number}[], artists: {name: string, count: number}[]}} found */
function offer({ genres, artists: names }) {
  const named = ({ name, count }) => make("option", { value: name }, `${readable(name, false)} (${count})`);
  $("genre").append(...genres.map(named));
  for (const { name } of names) artists.set(name.toLowerCase(), name).set(readable(name).toLowerCase(), name);
  $("artists").append(...names.map(({ name }) => make("option", { value: readable(name) })));
}

function search() {
  if (!zone.picture) return feedback.fail(new Failure("Choose a picture", { fields: [zone.name] }));
  const { file } = zone.picture;
  const wanted = { k: $("k").value, genre: $("genre").value, artist: chosenArtist() };
  if (wanted.artist === null) return $("artist").focus();
  return feedback.run("Searching", async (controller) => {
    const body = new FormData();
    body.append("picture", file);
    for (const [name, value] of Object.entries(wanted)) if (value) body.append(name, value);
    show(await ask("/v1/search", { body, controller }));
  });
}

/** The artist who was asked for, or null after saying that there is none. */
function chosenArtist() {
  const typed = $("artist").value.trim().toLowerCase();
  const found = artists.get(typed);
  const wrong = Boolean(typed) && found === undefined;
  $("artist-error").textContent = wrong ? "No artist of that name is in the index." : "";
  $("artist").setAttribute("aria-invalid", String(wrong));
  return wrong ? null : (found ?? "");
}

/** @param {{results: Artwork[], num_searched: number}} found */
function show({ results, num_searched: num }) {
  const some = `The nearest ${results.length} of ${num.toLocaleString("en")} paintings`;
  const few = ["There is no such painting", "The one such painting"];
  const all = few[num] ?? `All ${num} such paintings, nearest first`;
  const heading = results.length === num ? all : some;
  $("nearest-name").textContent = heading;
  $("grid").replaceChildren(...results.map(card));
  $("nearest").hidden = false;
  announce(`${heading}.`);
  reveal($("nearest"));
}

/** @param {Artwork} work */
function card(work) {
  const image = make("img", { alt: "", loading: "lazy" });
  pictureUrl(work.thumbnail).then((url) => (image.src = url)).catch(() => image.remove());
  const title = readable(work.title, false) || "Untitled";
  const by = [readable(work.artist), readable(work.genre, false)].filter(Boolean).join(", ");
  const words = make("div", {}, make("p", { className: "title" }, title), make("p", { className: "by" }, by));
  const name = make("span", { className: "visually-hidden" }, "Similarity ");
  const score = make("b", { title: "similarity, −1 to 1" }, name, signed(work.similarity));
  const pick = () => $("search").dispatchEvent(new CustomEvent("pick", { detail: work }));
  const button = makeButton("Compare with this one", pick, { "aria-label": `Compare with this one: ${title}` });
  const foot = make("div", { className: "score" }, score, button);
  return make("li", { className: "work" }, make("div", { className: "wall" }, image), words, foot);
}

onSubmit("search-form", search);
$("search-form").addEventListener("picture", () => {
  feedback.reset();
  $("nearest").hidden = true;
  $("search-now").setAttribute("aria-disabled", String(!zone.picture));
});
$("artist").addEventListener("input", () => {
  $("artist-error").textContent = ""; // not once the field is left: the button would move away under the click
  $("artist").removeAttribute("aria-invalid");
});
