/** Places for pictures, and how pictures get there: chosen, dropped or pasted. */

import { Failure } from "./api.js";
import { make, makeButton } from "./dom.js";
import { sized, typeName } from "./words.js";

/** @typedef {{max_bytes: number, max_pixels: number, types: string[]}} Limits */
/** @typedef {{id: string, genre: string, artist: string, title: string, similarity: number,
 *             thumbnail: string}} Artwork */
/** @typedef {{file?: File, artwork?: Artwork, url: string, name: string, note: string}} Picture  file or artwork */

/** @type {Limits | null} */
let limits = null;

/** What the service takes. @param {Limits} given */
export function limitTo(given) {
  limits = given;
  for (const zone of Object.values(zones)) zone.input.accept = given.types.join(",");
}

/** What is wrong with a file before it is sent, or null. @param {File} file */
function objection({ name, size, type }) {
  if (!limits) return null;
  const types = limits.types.map(typeName).join(", ");
  if (!size) return `“${name}” is empty`;
  if (type && !limits.types.includes(type)) return `“${name}” is no picture of a kind that is read here (${types})`;
  if (size > limits.max_bytes) return `“${name}” has ${sized(size)}: at most ${sized(limits.max_bytes)} are taken`;
  return null;
}

/**
 * A place for a picture: drop target, file input and preview in one. Its events bubble: `picture` when another one or
 * none is there, `measured` once one is shown, `refusal` with a Failure as its detail.
 */
export class Zone {
  /** @type {Picture | null} */
  picture = null;
  /** Whether the browser cannot show what was chosen. */
  unseen = false;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.name = /** @type {string} */ (root.dataset.zone); // of the form's field, too
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

  #chosen() {
    const [file] = this.input.files;
    if (file) this.take(file);
    this.input.value = ""; // so that the same file may be chosen again
  }

  /** A file that someone chose, dropped or pasted. @param {File} file */
  take(file) {
    const wrong = objection(file);
    if (wrong) this.refuse(wrong);
    else this.put({ file, url: URL.createObjectURL(file), name: file.name, note: sized(file.size) });
  }

  /** @param {string} message @param {string[]} fields */
  refuse(message, fields = [this.name]) {
    this.#tell("refusal", new Failure(message, { fields }));
  }

  /** @param {Picture | null} picture */
  put(picture) {
    if (this.picture?.file && this.picture.file !== picture?.file) URL.revokeObjectURL(this.picture.url);
    this.#show(picture);
    this.#tell("picture");
  }

  /** @param {string} type @param {any} [detail] */
  #tell(type, detail) {
    this.root.dispatchEvent(new CustomEvent(type, { bubbles: true, detail }));
  }

  /** @param {Picture | null} picture */
  #show(picture) {
    this.picture = picture;
    this.unseen = false;
    this.root.classList.toggle("filled", Boolean(picture));
    const invitation = picture ? `${picture.name}. Choose another` : "choose a file";
    this.input.setAttribute("aria-label", `${this.label}: ${invitation}`);
    this.hang.replaceChildren(picture ? this.#frame(picture) : this.#invitation());
    this.caption.replaceChildren(...(picture ? this.#words(picture) : []));
  }

  #invitation() {
    const hint = make("span", {}, "Drop it here, paste it, or ", make("u", {}, "choose a file"));
    return make("span", { className: "invite" }, make("b", {}, this.label), hint);
  }

  /** @param {Picture} picture */
  #frame(picture) {
    const { artwork, name, url: src } = picture;
    this.image = make("img", { alt: `${this.label}: ${name}`, src, className: artwork ? "enlarged" : "" });
    const frame = make("span", { className: "frame" }, this.image);
    this.image.addEventListener("load", () => this.picture === picture && this.#measured(picture));
    this.image.addEventListener("error", () => {
      this.unseen = true;
      frame.replaceChildren(make("span", { className: "invite" }, "This browser cannot show the file."));
    });
    return frame;
  }

  /** Its size is known. @param {Picture} picture */
  #measured({ file, name, note }) {
    const { naturalWidth: width, naturalHeight: height } = this.image;
    if (file && limits && width * height > limits.max_pixels) {
      const [has, most] = [width * height, limits.max_pixels].map((pixels) => `${Math.round(pixels / 1e6)} million`);
      this.put(null);
      return this.refuse(`“${name}” has ${has} pixels: at most ${most} are taken`);
    }
    if (file) this.caption.querySelector(".size").textContent = ` ${width} × ${height} px, ${note}`;
    return this.#tell("measured");
  }

  /** @param {Picture} picture */
  #words({ name, note }) {
    const clear = () => {
      this.put(null);
      this.input.focus();
    };
    const remove = makeButton("Remove", clear, { "aria-label": `Remove ${this.label.toLowerCase()}` });
    return [make("span", { title: name }, name, make("span", { className: "size" }, ` ${note}`)), remove];
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

const roots = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-zone]")]);

/** @type {Object<string, Zone>} */
export const zones = Object.fromEntries(roots.map((root) => [root.dataset.zone, new Zone(root)]));

/** The zones of the panel that is open. */
const openZones = () => Object.values(zones).filter(({ root }) => !root.closest("[role=tabpanel][hidden]"));

/** Put files where they were dropped or pasted, else where there is room. @param {File[]} files @param {any} target */
function deal(files, target) {
  const here = openZones();
  const root = target?.closest?.("[data-zone]");
  const start = here.find((zone) => zone.root === root) ?? here.find((zone) => !zone.picture) ?? here[here.length - 1];
  const order = [start, ...here.filter((zone) => zone !== start)];
  files.slice(0, here.length).forEach((file, at) => order[at].take(file));
}

document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const files = [...(event.dataTransfer?.files ?? [])];
  if (files.length) deal(files, event.target);
  else openZones()[0].refuse("That was not a file: save the picture first, then drop it here", []);
});
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return;
  event.preventDefault();
  deal(files, document.activeElement);
});
