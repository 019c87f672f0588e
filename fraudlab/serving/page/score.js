import { h } from "./dom.js";

/**
 * @param {HTMLElement} root
 * @param {import("./server.js").Server} server
 */
export function mount(root, server) {
  root.append(h("h2", {}, "Score"), h("p", { class: "hint" }, server.version ?? ""));
}
