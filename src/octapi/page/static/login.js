// A link that was opened from another site sets a cookie which the browser does not send along at once:
// ask again as ourselves.
const base = new URL("./", document.baseURI);
const answer = await fetch(new URL("api/v1/me", base), { credentials: "same-origin" });
if (answer.ok) location.replace(base);
