/**
 * Finds and makes elements. Texts come from strangers: they are only ever set as
 * text, never as HTML.
 *
 * @module
 */

/** Finds an element of the page by its id. */
export function find<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (element instanceof type) return element;
  throw new TypeError(`There is no ${type.name} with the id "${id}"`);
}

/** Makes an element with classes and a text. */
export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  className: string,
  text = "",
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}
