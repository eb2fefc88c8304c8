/** Elements: found, made, and shown. */

/** @param {string} id @returns {any} */
export const $ = (id) => document.getElementById(id);

/**
 * An element with properties, attributes (those with a dash, role and for) and children.
 * @param {string} tag @param {Object<string, any>} [given] @param {...(Node | string)} children @returns {any}
 */
export function make(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** @param {string} textContent @param {() => void} click @param {Object<string, any>} [given] @returns {any} */
export function makeButton(textContent, click, given = {}) {
  const button = make("button", { type: "button", textContent, ...given });
  button.addEventListener("click", () => click());
  return button;
}

/** @param {string} tag @param {Object<string, any>} given @param {...(Node | string)} children @returns {SVGElement} */
export function draw(tag, given, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Do something in place of what a form does when it is sent. @param {string} id @param {() => void} submit */
export function onSubmit(id, submit) {
  $(id).addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    submit();
  });
}

/** Tell people who listen to the page. @param {string} text */
export function announce(text) {
  $("announcer").textContent = text;
}

/** Scroll no further than needed to see an element. @param {HTMLElement} element */
export function reveal(element) {
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "nearest", behavior: isStill ? "auto" : "smooth" });
}
