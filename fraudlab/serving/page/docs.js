// Reads the description with the key that was typed in, and sends that key with every request tried on the page.
const enter = document.getElementById("enter");

async function open(key) {
  const headers = key ? { "X-API-Key": key } : {};
  const answer = await fetch("openapi.json", { headers });
  const said = await answer.json();
  enter.hidden = answer.ok;
  if (!answer.ok) {
    document.getElementById("says").textContent = key ? said.error : "";
    return;
  }
  document.title = said.info.title;
  SwaggerUIBundle({
    spec: said,
    domNode: document.getElementById("docs"),
    requestInterceptor: (request) => {
      Object.assign(request.headers, headers);
      return request;
    },
  });
}

enter.addEventListener("submit", (event) => {
  event.preventDefault();
  open(document.getElementById("key").value.trim());
});
open("");
