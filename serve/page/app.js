/** The start of the page: its tabs and its model. Plain modules, no build step, no other hosts. */

import { ask, Failure, pictureUrl } from "./api.js";
import { compare } from "./compare.js";
import { $, make } from "./dom.js";
import { offerSearch } from "./search.js";
import { readable } from "./words.js";
import { limitTo, zones } from "./zone.js";

const PANELS = ["compare", "search"];

/** @param {string} name */
function showPanel(name) {
  for (const panel of PANELS) {
    const [tab, isChosen] = [$(`tab-${panel}`), panel === name];
    tab.setAttribute("aria-selected", String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
    $(panel).hidden = !isChosen;
  }
  history.replaceState(null, "", name === "compare" ? location.pathname : `#${name}`);
}

/** The tab that a key leads to (ARIA's pattern for tabs), if any. @param {string} key @param {string} from */
function tabAt(key, from) {
  const other = PANELS.find((panel) => panel !== from);
  return { ArrowLeft: other, ArrowRight: other, Home: PANELS[0], End: PANELS[1] }[key];
}

for (const panel of PANELS) {
  $(`tab-${panel}`).addEventListener("click", () => showPanel(panel));
  $(`tab-${panel}`).addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const next = tabAt(event.key, panel);
    if (!next) return;
    showPanel(next);
    $(`tab-${next}`).focus();
  });
}

/** Compare the picture that was searched with to one that was found. @param {import("./zone.js").Artwork} work */
async function compareWith(work) {
  const { file } = zones.picture.picture;
  const url = await pictureUrl(work.thumbnail).catch(() => work.thumbnail);
  showPanel("compare");
  zones.first.take(file);
  zones.second.put({ artwork: work, url, name: readable(work.title, false) || work.id, note: readable(work.artist) });
  $("tab-compare").focus({ preventScroll: true });
  scrollTo({ top: 0 });
  compare();
}

/** @param {Object<string, any>} model as /v1/model tells it */
function describe({ name, recipe, encoder, index }) {
  const id = encoder?.name ?? encoder?.id ?? encoder?.model?.id;
  const facts = { Model: name, Recipe: recipe, Encoder: id || "local descriptors" };
  const how = index?.is_exact ? "" : ", approximate";
  if (index) facts.Index = `${index.num_artworks.toLocaleString("en")} paintings${how}`;
  const rows = Object.entries(facts).map(([term, fact]) => make("div", {}, make("dt", {}, term), make("dd", {}, fact)));
  $("model").replaceChildren(...rows);
}

let isUnstarted = false;

async function start() {
  isUnstarted = false;
  try {
    const model = await ask("/v1/model");
    describe(model);
    limitTo(model.limits);
    await offerSearch(Boolean(model.index));
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    isUnstarted = true; // tried again with the next key
    $("model").textContent = failure.message;
  }
}

addEventListener("newkey", () => isUnstarted && start());
$("search").addEventListener("pick", (/** @type {CustomEvent} */ event) => compareWith(event.detail));
if (location.hash === "#search") showPanel("search");
start();
