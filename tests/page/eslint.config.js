import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["**/docs.js"] },
  js.configs.recommended,
  {
    languageOptions: { globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      curly: ["error", "multi-line"],
      eqeqeq: "error",
      "no-implicit-globals": "error",
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe"].map((property) => ({
          property,
          message: "data must never become markup: use dom.js",
        })),
        { object: "document", property: "write" },
        { object: "document", property: "cookie" },
      ],
      "no-restricted-globals": ["error", { name: "localStorage", message: "nothing outlives the tab: sessionStorage" }, "eval"],
      "no-var": "error",
      "prefer-const": "error",
      "max-lines": ["error", 350],
    },
  },
];
