/** The page's behaviour: two pictures compared, or one searched with. Plain modules, no build step, no other hosts. */

/** @typedef {{first: [number, number], second: [number, number], similarity: number}} Match  x, y in 0..1 of a picture */
/** @typedef {{similarity: number, percentiles: Object<string, number> | null, probability: number | null, prior: number,
 *             sentence: string, map: {matches: Match[], grid: number} | null}} Comparison */
/** @typedef {{id: string, genre: string, artist: string, title: string, similarity: number, thumbnail: string}} Artwork */
/** @typedef {{max_bytes: number, max_pixels: number, types: string[]}} Limits */

const TIMEOUT_MS = 60_000;
const PATIENCE_MS = 300; // an answer that takes longer shows progress
const KEY = "artsim-key";
const NUM_MATCHES = 12; // shown at first
const KINDS = { other_genre: "unrelated pairs", same_genre: "pairs of one genre", same_artist: "pairs by one artist" };
const PRIORS = [
  [1e-5, "1 in 100,000"], [1e-4, "1 in 10,000"], [1e-3, "1 in 1,000"], [0.01, "1 in 100"], [0.05, "1 in 20"],
  [0.1, "1 in 10"], [0.2, "1 in 5"], [0.5, "1 in 2"], [0.9, "9 in 10"],
];
const INKS = [
  "#b3261e", "#1f5fbf", "#1b7f4b", "#8a3ab9", "#a85b00", "#00727f",
  "#c2185b", "#4f6d00", "#5b4bd6", "#7a4a2b", "#00639c", "#9c2f7c",
]; // white numbers on them have a contrast of 4.5 or more

/** @type {Object<string, Zone>} */
const zones = {};
/** @type {Object<string, Feedback>} */
const feedback = {};

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);

/**
 * An element with properties, attributes (those with a dash, and role) and children.
 * @param {string} tag @param {Object<string, any>} [given] @param {...(Node | string)} children @returns {any}
 */
function make(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** @param {string} tag @param {Object<string, any>} given @param {...(Node | string)} children @returns {SVGElement} */
function draw(tag, given, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** To a tenth, and never quite none or all. @param {number} share 0..1 */
function percent(share) {
  if (share < 0.001) return "<0.1%";
  return share > 0.999 ? ">99.9%" : `${(100 * share).toFixed(1)}%`;
}

/** @param {number} similarity -1..1 */
const signed = (similarity) => similarity.toFixed(2).replace(/^-(0\.00)$/, "$1").replace("-", "−");

/** @param {number} bytes */
const sized = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`);

/** File names as people would write them: `idris-dornstrand` is Idris Dornstrand. @param {string} name */
function readable(name, everyWord = true) {
  if (!name || name.includes(" ")) return name || "";
  const words = name.replace(/[-_]+/g, " ").trim();
  return words.replace(everyWord ? /(^|\s)\p{L}/gu : /^\p{L}/u, (letter) => letter.toUpperCase());
}

/** @param {string} text */
const sentence = (text) => text && text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** @param {string} type such as image/jpeg */
const typeName = (type) => type.replace(/^image\//, "").replace("svg+xml", "svg").toUpperCase();

// What the service says ------------------------------------------------------------------------------------------

/** Why there is no answer, in one sentence. */
class Failure extends Error {
  /**
   * @param {string} reason @param {string} message
   * @param {{zones?: string[], passes?: boolean}} [more] the zones concerned; whether the same request may succeed later
   */
  constructor(reason, message, { zones = [], passes = false } = {}) {
    super(sentence(message));
    this.reason = reason;
    this.zones = zones;
    this.passes = passes;
  }
}

/** @param {Response} response @returns {Promise<Failure>} */
async function failureOf(response) {
  const { error } = await response.json().catch(() => ({}));
  let message = sentence(error?.message ?? `The service answered ${response.status}`);
  const wait = Number(response.headers.get("Retry-After"));
  if (wait > 0 && !/again in/i.test(message)) message += ` Try again in ${wait} ${wait === 1 ? "second" : "seconds"}.`;
  const named = error?.field === "artwork" ? "second" : error?.field;
  const passes = response.status >= 500 || [408, 429].includes(response.status);
  return new Failure(error?.reason ?? "failed", message, { zones: zones[named] ? [named] : [], passes });
}

/**
 * One request, repeated with a key where the service asks for one.
 * @param {string} path
 * @param {{body?: FormData, controller?: AbortController, as?: "json" | "blob"}} [how]
 * @returns {Promise<any>} throws Failure
 */
async function ask(path, { body, controller = new AbortController(), as = "json" } = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const late = new Failure("timeout", `No answer came within ${TIMEOUT_MS / 1000} seconds`, { passes: true });
    const timer = setTimeout(() => controller.abort(late), TIMEOUT_MS);
    try {
      const response = await fetch(path, { method: body ? "POST" : "GET", body, headers, signal: controller.signal });
      if (response.ok) return await response[as]();
      const failure = await failureOf(response);
      if (response.status !== 401) throw failure;
      clearTimeout(timer);
      if (sessionStorage.getItem(KEY) === key) await askKey(failure.message);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw new Failure("unreachable", "The service could not be reached: is it running?", { passes: true });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** @type {Promise<void> | null} */
let asking = null;

/** Ask for a key once, however many requests wait for it. @param {string} message */
function askKey(message) {
  asking ??= new Promise((resolve, reject) => {
    const dialog = $("key-dialog");
    $("key-message").textContent = message;
    $("key").value = "";
    dialog.onclose = () => {
      asking = null;
      if (dialog.returnValue !== "key") return reject(new Failure("unauthorized", message, { passes: true }));
      sessionStorage.setItem(KEY, $("key").value.trim());
      resolve();
      if (isUnstarted) begin();
    };
    dialog.returnValue = "";
    dialog.showModal();
  });
  return asking;
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("key-dialog").close("key");
});
$("key-cancel").addEventListener("click", () => $("key-dialog").close());

/** Thumbnails need the key too, which an <img> cannot send. @param {string} path @returns {Promise<string>} */
async function pictureUrl(path) {
  if (!sessionStorage.getItem(KEY)) return path;
  return URL.createObjectURL(await ask(path, { as: "blob" }));
}

/** @param {HTMLImageElement} image @param {string} path */
function showThumbnail(image, path) {
  pictureUrl(path).then((url) => (image.src = url)).catch(() => image.remove());
}

/** @param {string} text */
function announce(text) {
  $("announcer").textContent = text;
}

/** One panel's news: progress of what is asked, or why it failed. */
class Feedback {
  /** @param {string} panel */
  constructor(panel) {
    this.region = /** @type {HTMLElement} */ (document.querySelector(`[data-feedback=${panel}]`));
    this.zones = panel === "compare" ? ["first", "second"] : ["picture"];
    /** @type {AbortController | null} */
    this.controller = null;
  }

  clear() {
    this.region.replaceChildren();
    for (const name of this.zones) zones[name].mark(false);
  }

  stop() {
    this.controller?.abort(new Failure("cancelled", "Cancelled"));
  }

  /**
   * Show what goes on until the work is done; a second call ends the first.
   * @param {string} doing @param {(controller: AbortController) => Promise<void>} work
   */
  async run(doing, work) {
    this.stop();
    this.clear();
    const controller = (this.controller = new AbortController());
    const slow = setTimeout(() => this.#progress(doing), PATIENCE_MS);
    try {
      await work(controller);
      if (this.controller === controller) this.clear();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (this.controller === controller) this.fail(error, () => this.run(doing, work));
    } finally {
      clearTimeout(slow);
      if (this.controller === controller) this.controller = null;
    }
  }

  /** @param {string} doing */
  #progress(doing) {
    const cancel = make("button", { type: "button", className: "quiet", textContent: "Cancel" });
    cancel.addEventListener("click", () => this.stop());
    const bar = make("i", { "aria-hidden": "true" });
    this.region.replaceChildren(make("div", { className: "progress" }, make("p", {}, `${doing}…`), bar, cancel));
  }

  /** @param {Failure} failure @param {() => void} [again] */
  fail(failure, again) {
    this.clear();
    if (failure.reason === "cancelled") return announce("Cancelled.");
    const unseen = failure.passes ? [] : this.zones.filter((name) => zones[name].unseen);
    for (const name of failure.zones.length ? failure.zones : unseen) zones[name]?.mark(true);
    const box = make("div", { className: "failure" }, make("p", {}, failure.message));
    if (again && failure.passes) {
      const button = make("button", { type: "button", className: "quiet", textContent: "Try again" });
      button.addEventListener("click", again);
      box.append(button);
    }
    this.region.replaceChildren(box);
  }
}

// Pictures -------------------------------------------------------------------------------------------------------

/** @type {Limits | null} */
let limits = null;

/** What is wrong with a file before it is sent, or null. @param {File} file */
function objection(file) {
  if (!limits) return null;
  const [name, types] = [`“${file.name}”`, limits.types.map(typeName).join(", ")];
  if (!file.size) return `${name} is empty`;
  if (file.type && !limits.types.includes(file.type)) return `${name} is no picture of a kind that is read here (${types})`;
  if (file.size > limits.max_bytes) return `${name} has ${sized(file.size)}: at most ${sized(limits.max_bytes)} are taken`;
  return null;
}

/** @typedef {{file?: File, artwork?: Artwork, url: string, name: string, note: string}} Picture */

/** A place for a picture: drop target, file input and preview in one. */
class Zone {
  /** @type {Picture | null} */
  picture = null;
  /** Whether the browser cannot show what was chosen. */
  unseen = false;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.name = /** @type {string} */ (root.dataset.zone);
    this.label = /** @type {string} */ (root.dataset.label);
    const ids = { id: `zone-${this.name}`, "aria-describedby": `caption-${this.name}` };
    this.input = make("input", { type: "file", accept: "image/*", className: "visually-hidden", ...ids });
    this.hang = make("label", { className: "hang", for: ids.id });
    this.caption = make("div", { className: "caption", id: ids["aria-describedby"] });
    root.append(this.input, this.hang, this.caption);
    this.input.addEventListener("change", () => this.#chosen());
    for (const kind of ["dragenter", "dragover"]) root.addEventListener(kind, () => root.classList.add("over"));
    for (const kind of ["dragleave", "drop"]) root.addEventListener(kind, () => root.classList.remove("over"));
    this.#show(null);
  }

  get panel() {
    return this.name === "picture" ? "search" : "compare";
  }

  #chosen() {
    const [file] = this.input.files;
    if (file) this.take(file);
    this.input.value = ""; // so that the same file may be chosen again
  }

  /** A file that someone chose, dropped or pasted. @param {File} file */
  take(file) {
    const wrong = objection(file);
    if (wrong) return feedback[this.panel].fail(new Failure("refused", wrong, { zones: [this.name] }));
    this.put({ file, url: URL.createObjectURL(file), name: file.name, note: sized(file.size) });
  }

  /** @param {Picture | null} picture */
  put(picture) {
    if (this.picture?.file && this.picture.file !== picture?.file) URL.revokeObjectURL(this.picture.url);
    this.#show(picture);
    this.root.dispatchEvent(new Event("picture", { bubbles: true }));
  }

  /** @param {Picture | null} picture */
  #show(picture) {
    this.picture = picture;
    this.unseen = false;
    this.root.classList.toggle("filled", Boolean(picture));
    this.input.setAttribute("aria-label", picture ? `${this.label}: ${picture.name}. Choose another` : `${this.label}: choose a file`);
    this.hang.replaceChildren(picture ? this.#frame(picture) : this.#invitation());
    this.caption.replaceChildren(...(picture ? this.#words(picture) : []));
  }

  #invitation() {
    const hint = make("span", {}, "Drop it here, paste it, or ", make("u", {}, "choose a file"));
    return make("span", { className: "invite" }, make("b", {}, this.label), hint);
  }

  /** @param {Picture} picture */
  #frame(picture) {
    this.image = make("img", { alt: `${this.label}: ${picture.name}`, src: picture.url, className: picture.artwork ? "enlarged" : "" });
    const frame = make("span", { className: "frame" }, this.image);
    this.image.addEventListener("load", () => this.#measured(picture));
    this.image.addEventListener("error", () => {
      this.unseen = true;
      frame.replaceChildren(make("span", { className: "invite" }, "This browser cannot show the file."));
    });
    return frame;
  }

  /** @param {Picture} picture */
  #measured(picture) {
    if (this.picture !== picture) return undefined;
    const { naturalWidth: width, naturalHeight: height } = this.image;
    if (picture.file && limits && width * height > limits.max_pixels) {
      const most = Math.round(limits.max_pixels / 1e6);
      const message = `“${picture.name}” has ${Math.round((width * height) / 1e6)} million pixels: at most ${most} million are taken`;
      this.put(null);
      return feedback[this.panel].fail(new Failure("too_large", message, { zones: [this.name] }));
    }
    if (picture.file) this.caption.querySelector(".size").textContent = ` ${width} × ${height} px, ${picture.note}`;
    return drawMap();
  }

  /** @param {Picture} picture */
  #words(picture) {
    const remove = make("button", { type: "button", textContent: "Remove", "aria-label": `Remove ${this.label.toLowerCase()}` });
    remove.addEventListener("click", () => {
      this.put(null);
      this.input.focus();
    });
    const size = make("span", { className: "size" }, ` ${picture.note}`);
    return [make("span", { title: picture.name }, picture.name, size), remove];
  }

  /** @param {boolean} wrong */
  mark(wrong) {
    this.root.classList.toggle("wrong", wrong);
    if (wrong) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }

  /** Where the picture lies, in px of the window; null without one. @returns {DOMRect | null} */
  content() {
    if (!this.picture || !this.image?.naturalWidth) return null;
    const outer = this.image.getBoundingClientRect();
    const scale = Math.min(outer.width / this.image.naturalWidth, outer.height / this.image.naturalHeight);
    const [width, height] = [scale * this.image.naturalWidth, scale * this.image.naturalHeight];
    return new DOMRect(outer.x + (outer.width - width) / 2, outer.y + (outer.height - height) / 2, width, height);
  }
}

/** Put files where they were dropped, else where there is room. @param {File[]} files @param {Zone} [target] */
function deal(files, target) {
  const here = currentPanel() === "compare" ? [zones.first, zones.second] : [zones.picture];
  const start = target ?? here.find((zone) => !zone.picture) ?? here[here.length - 1];
  const order = [start, ...here.filter((zone) => zone !== start)];
  files.slice(0, here.length).forEach((file, at) => order[at].take(file));
}

document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const root = /** @type {HTMLElement} */ (event.target).closest?.("[data-zone]");
  const files = [...(event.dataTransfer?.files ?? [])];
  if (files.length) deal(files, root && zones[/** @type {HTMLElement} */ (root).dataset.zone ?? ""]);
  else feedback[currentPanel()].fail(new Failure("refused", "That was not a file: save the picture first, then drop it here"));
});
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return;
  event.preventDefault();
  const root = /** @type {HTMLElement | null} */ (document.activeElement?.closest("[data-zone]"));
  deal(files, root ? zones[root.dataset.zone ?? ""] : undefined);
});

// Comparing two pictures -----------------------------------------------------------------------------------------

/** @type {Comparison | null} */
let comparison = null;
const wantsMap = () => $("map-toggle").getAttribute("aria-pressed") === "true";

function compare() {
  const missing = ["first", "second"].filter((name) => !zones[name].picture);
  if (missing.length) return feedback.compare.fail(new Failure("missing", `Choose the ${missing.join(" and the ")} picture`, { zones: missing }));
  return feedback.compare.run("Comparing", async (controller) => {
    const body = new FormData();
    body.append("first", ...upload(zones.first.picture));
    const { artwork } = zones.second.picture;
    if (artwork) body.append("artwork", artwork.id);
    else body.append("second", ...upload(zones.second.picture));
    if (wantsMap()) body.append("map", "true");
    showComparison(await ask("/v1/compare", { body, controller }));
    if (body.has("map") && !comparison?.map) throw new Failure("no_map", "This model sees pictures whole: it cannot say where they match");
  });
}

/** @param {Picture} picture @returns {[File, string]} */
const upload = (picture) => [/** @type {File} */ (picture.file), picture.name];

/** @param {Comparison} found */
function showComparison(found) {
  const isNew = !comparison;
  comparison = found;
  $("similarity").textContent = signed(found.similarity);
  $("scale").setAttribute("aria-valuenow", found.similarity);
  $("scale").setAttribute("aria-valuetext", `${signed(found.similarity)}, between −1, least alike, and 1, most alike`);
  $("marker").style.left = `${50 + 50 * Math.max(-1, Math.min(1, found.similarity))}%`;
  $("calibrated").hidden = !found.percentiles;
  $("uncalibrated").hidden = Boolean(found.percentiles);
  $("sentence").textContent = sentence(found.sentence ?? "");
  $("bars").replaceChildren(...Object.entries(KINDS).map(([kind, name]) => bar(name, found.percentiles?.[kind])));
  showProbability();
  $("comparison").hidden = false;
  $("map-toggle").hidden = false;
  drawMap();
  announce(`Similarity ${signed(found.similarity)}. ${found.percentiles ? $("sentence").textContent : "Not calibrated."}`);
  if (isNew) $("answer").scrollIntoView({ block: "nearest", behavior: motion() });
}

const motion = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");

/** @param {string} name @param {number | undefined} share */
function bar(name, share) {
  if (share === undefined) {
    return make("div", { className: "unknown" }, make("dt", {}, `Against ${name}`), make("dd", {}, "not measured"));
  }
  const fill = make("span");
  fill.style.width = `${100 * share}%`;
  const outer = make("dd", { className: "bar", "aria-hidden": "true" }, fill);
  return make("div", {}, make("dt", {}, `More alike than ${name}`), make("dd", {}, percent(share)), outer);
}

/** Another prior multiplies the odds (Elkan 2001, theorem 2). */
function showProbability() {
  const [prior, words] = PRIORS[$("prior").valueAsNumber];
  $("prior").setAttribute("aria-valuetext", words);
  $("given").textContent = `if ${words} pairs where you look are.`;
  const known = comparison?.probability ?? null;
  $("chance").hidden = known === null;
  if (known === null || !comparison) return;
  const sure = Math.min(Math.max(known, 1e-15), 1 - 1e-15);
  const odds = (sure / (1 - sure)) * (prior / (1 - prior)) * ((1 - comparison.prior) / comparison.prior);
  $("probability").textContent = percent(odds / (1 + odds));
}

function forgetComparison() {
  feedback.compare.stop();
  feedback.compare.clear();
  comparison = null;
  $("comparison").hidden = $("map-toggle").hidden = true;
  drawMap();
  const ready = zones.first.picture && zones.second.picture;
  $("compare-now").setAttribute("aria-disabled", String(!ready));
  $("swap").hidden = !ready || Boolean(zones.second.picture?.artwork); // the service takes an artwork as the second
}

/** The similarity is the same from both sides, so the answer stays. */
function swap() {
  const [kept, { picture: first }, { picture: second }] = [comparison, zones.first, zones.second];
  zones.first.picture = zones.second.picture = null; // keep their URLs alive
  zones.first.put(second);
  zones.second.put(first);
  const turned = kept?.map?.matches.map((match) => ({ ...match, first: match.second, second: match.first }));
  if (kept) showComparison({ ...kept, map: kept.map && { ...kept.map, matches: turned ?? [] } });
}

$("compare-form").addEventListener("submit", (event) => {
  event.preventDefault();
  compare();
});
$("pair").addEventListener("picture", forgetComparison);
$("swap").addEventListener("click", swap);
$("prior").addEventListener("input", showProbability);

// Where they match -----------------------------------------------------------------------------------------------

let numShown = NUM_MATCHES;

/** Draw what is known of where the pictures match over both of them, and list it beneath. */
function drawMap() {
  const map = wantsMap() ? comparison?.map : null;
  const places = [zones.first?.content(), zones.second?.content()];
  $("matches").hidden = !map;
  $("overlay").toggleAttribute("hidden", !map || !places[0] || !places[1]);
  if (!map) return;
  const shown = map.matches.slice(0, numShown);
  const origin = $("pair").getBoundingClientRect();
  $("overlay").classList.toggle("stacked", places[1]?.top > (places[0]?.bottom ?? 0));
  if (places[0] && places[1]) {
    const [lines, points] = drawn(shown, places, origin, map.grid);
    $("overlay").replaceChildren(...lines, ...points); // no line crosses a number
  }
  $("match-list").replaceChildren(...shown.map(listed));
  $("matches-hint").textContent = map.matches.length
    ? "Equal numbers are the patches that each picture finds most alike in the other, strongest first."
    : "No patch of one is the nearest of the other's nearest: they match nowhere in particular.";
  $("all-matches").hidden = map.matches.length <= numShown;
  $("all-matches").textContent = `Show all ${map.matches.length}`;
}

/**
 * The lines and the points of some matches, a group for each match.
 * @param {Match[]} matches @param {DOMRect[]} places @param {DOMRect} origin @param {number} grid patches along a side
 */
function drawn(matches, places, origin, grid) {
  const at = ([x, y], { left, top, width, height }) => [left - origin.left + x * width, top - origin.top + y * height];
  const lines = matches.map(({ first, second }, number) => {
    const [[x1, y1], [x2, y2]] = [at(first, places[0]), at(second, places[1])];
    const halo = draw("line", { x1, y1, x2, y2, class: "halo" });
    return draw("g", { "data-match": number }, halo, draw("line", { x1, y1, x2, y2, stroke: ink(number) }));
  });
  const points = matches.map(({ first, second }, number) => {
    const marks = [[first, places[0]], [second, places[1]]].flatMap(([point, place]) => dot(number, at(point, place), place, grid));
    return draw("g", { "data-match": number }, ...marks);
  });
  return [lines, points];
}

/** @param {number} number */
const ink = (number) => INKS[number % INKS.length];

/** A patch and its number. @param {number} number @param {number[]} centre @param {DOMRect} place @param {number} grid */
function dot(number, [x, y], place, grid) {
  const [width, height] = [place.width / grid, place.height / grid];
  const patch = draw("rect", { x: x - width / 2, y: y - height / 2, width, height, stroke: ink(number), class: "patch" });
  return [patch, draw("circle", { cx: x, cy: y, r: 10, fill: ink(number) }), draw("text", { x, y }, String(number + 1))];
}

/** @param {[number, number]} point */
function whereabouts([x, y]) {
  const across = ["left", "centre", "right"][Math.min(2, Math.floor(3 * x))];
  const down = ["top", "middle", "bottom"][Math.min(2, Math.floor(3 * y))];
  return `${down} ${across}`;
}

/** @param {Match} match @param {number} at */
function listed(match, at) {
  const number = make("i", { "aria-hidden": "true" }, String(at + 1));
  number.style.background = ink(at);
  const name = `Match ${at + 1}, ${signed(match.similarity)}: ${whereabouts(match.first)} of the first, ${whereabouts(match.second)} of the second`;
  const button = make("button", { type: "button", "aria-label": name, "data-match": at }, number, signed(match.similarity));
  return make("li", {}, button);
}

/** @param {Event} event */
function light(event) {
  const on = event.type === "pointerover" || event.type === "focusin";
  const at = /** @type {HTMLElement} */ (event.target).closest("[data-match]")?.getAttribute("data-match");
  $("overlay").classList.toggle("picking", on && at !== undefined);
  for (const element of document.querySelectorAll("[data-match]")) {
    element.classList.toggle("lit", on && element.getAttribute("data-match") === at);
  }
}

for (const kind of ["pointerover", "pointerout", "focusin", "focusout"]) {
  $("overlay").addEventListener(kind, light);
  $("match-list").addEventListener(kind, light);
}
$("map-toggle").addEventListener("click", async () => {
  $("map-toggle").setAttribute("aria-pressed", String(!wantsMap()));
  numShown = NUM_MATCHES;
  if (wantsMap() && comparison && !comparison.map) await compare();
  drawMap();
});
$("all-matches").addEventListener("click", () => {
  numShown = Infinity;
  drawMap();
});
new ResizeObserver(drawMap).observe($("pair"));

// Finding the nearest paintings ----------------------------------------------------------------------------------

/** Names as they are shown, and as the service knows them. @type {Map<string, string>} */
const artists = new Map();

/** The artist who was asked for, or null after saying that there is none. */
function chosenArtist() {
  const typed = $("artist").value.trim().toLowerCase();
  const found = artists.get(typed);
  const wrong = Boolean(typed) && found === undefined;
  $("artist-error").textContent = wrong ? "No artist of that name is in the index." : "";
  $("artist").setAttribute("aria-invalid", String(wrong));
  return wrong ? null : (found ?? "");
}

function search() {
  const { picture } = zones.picture;
  if (!picture) return feedback.search.fail(new Failure("missing", "Choose a picture", { zones: ["picture"] }));
  const wanted = { k: $("k").value, genre: $("genre").value, artist: chosenArtist() };
  if (wanted.artist === null) return $("artist").focus();
  return feedback.search.run("Searching", async (controller) => {
    const body = new FormData();
    body.append("picture", ...upload(picture));
    for (const [name, value] of Object.entries(wanted)) if (value) body.append(name, value);
    showNearest(await ask("/v1/search", { body, controller }));
  });
}

/** @param {{results: Artwork[], num_searched: number}} found */
function showNearest({ results, num_searched: num }) {
  const isAll = results.length === num;
  const some = `The nearest ${results.length} of ${num.toLocaleString("en")} paintings`;
  const all = num > 1 ? `All ${num} such paintings, nearest first` : ["There is no such painting", "The one such painting"][num];
  $("nearest-name").textContent = isAll ? all : some;
  $("grid").replaceChildren(...results.map(card));
  $("nearest").hidden = false;
  announce(`${$("nearest-name").textContent}.`);
  $("nearest").scrollIntoView({ block: "nearest", behavior: motion() });
}

/** @param {Artwork} work */
function card(work) {
  const image = make("img", { alt: "", loading: "lazy" });
  showThumbnail(image, work.thumbnail);
  const title = readable(work.title, false) || "Untitled";
  const by = [readable(work.artist), readable(work.genre, false)].filter(Boolean).join(", ");
  const button = make("button", { type: "button", textContent: "Compare with this one", "aria-label": `Compare with this one: ${title}` });
  button.addEventListener("click", () => compareWith(work));
  const words = make("div", {}, make("p", { className: "title" }, title), make("p", { className: "by" }, by));
  const score = make("b", { title: "similarity, −1 to 1" }, make("span", { className: "visually-hidden" }, "Similarity "), signed(work.similarity));
  return make("li", { className: "work" }, make("div", { className: "wall" }, image), words, make("div", { className: "score" }, score, button));
}

/** @param {Artwork} work */
async function compareWith(work) {
  const { file } = /** @type {Picture} */ (zones.picture.picture);
  const url = await pictureUrl(work.thumbnail).catch(() => work.thumbnail);
  showPanel("compare");
  zones.first.take(/** @type {File} */ (file));
  zones.second.put({ artwork: work, url, name: readable(work.title, false) || work.id, note: readable(work.artist) });
  $("tab-compare").focus({ preventScroll: true });
  scrollTo({ top: 0 });
  compare();
}

$("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
$("search-form").addEventListener("picture", () => {
  feedback.search.stop();
  feedback.search.clear();
  $("nearest").hidden = true;
  $("search-now").setAttribute("aria-disabled", String(!zones.picture.picture));
});
$("artist").addEventListener("input", () => {
  $("artist-error").textContent = ""; // not once the field is left: the button would move away under the click
  $("artist").removeAttribute("aria-invalid");
});

// Panels, the model, and the start -------------------------------------------------------------------------------

const currentPanel = () => ($("search").hidden ? "compare" : "search");

/** @param {string} name */
function showPanel(name) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const isChosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(isChosen));
    /** @type {HTMLElement} */ (tab).tabIndex = isChosen ? 0 : -1;
  }
  for (const panel of ["compare", "search"]) $(panel).hidden = panel !== name;
  history.replaceState(null, "", name === "compare" ? location.pathname : `#${name}`);
  drawMap();
}

for (const tab of document.querySelectorAll("[role=tab]")) {
  tab.addEventListener("click", () => showPanel(tab.id.slice(4)));
  tab.addEventListener("keydown", (event) => {
    const { key } = /** @type {KeyboardEvent} */ (event);
    if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(key)) return;
    const other = { Home: "compare", End: "search" }[key] ?? (currentPanel() === "compare" ? "search" : "compare");
    showPanel(other);
    $(`tab-${other}`).focus();
  });
}

/** @param {Object<string, any>} model as /v1/model tells it */
function describe(model) {
  const { encoder, index } = model;
  const id = encoder?.name ?? encoder?.id ?? encoder?.model?.id;
  const facts = { Model: model.name, Recipe: model.recipe, Encoder: id || "local descriptors" };
  if (index) facts.Index = `${index.num_artworks.toLocaleString("en")} paintings${index.is_exact ? "" : ", approximate"}`;
  const rows = Object.entries(facts).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  $("model").replaceChildren(...rows);
}

/** @param {{genres: {name: string, count: number}[], artists: {name: string, count: number}[]}} found */
function offer({ genres, artists: names }) {
  $("genre").append(...genres.map(({ name, count }) => make("option", { value: name }, `${readable(name, false)} (${count})`)));
  for (const { name } of names) artists.set(name.toLowerCase(), name).set(readable(name).toLowerCase(), name);
  $("artists").append(...names.map(({ name }) => make("option", { value: readable(name) })));
}

let isUnstarted = false;

async function begin() {
  try {
    isUnstarted = false;
    await start();
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    isUnstarted = true; // tried again with the next key
    $("model").textContent = failure.message;
  }
}

async function start() {
  const model = await ask("/v1/model");
  describe(model);
  limits = model.limits;
  for (const zone of Object.values(zones)) zone.input.accept = model.limits.types.join(",");
  if (model.index) return offer(await ask("/v1/filters"));
  $("search-lede").textContent = "This model has no index of paintings yet: write one with jobs/index.py and deploy the service again.";
  $("search-form").hidden = true;
}

for (const root of document.querySelectorAll("[data-zone]")) {
  const zone = new Zone(/** @type {HTMLElement} */ (root));
  zones[zone.name] = zone;
}
feedback.compare = new Feedback("compare");
feedback.search = new Feedback("search");
showProbability();
if (location.hash === "#search") showPanel("search");
begin();
