// The template function of all components: markup in JavaScript, where each value is text and never markup.
import { h } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(h);
