// The state of a page in its address, so that it can be sent to somebody: one or two panels, and what is explained.

export function remember(state) {
  history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(state))}`);
}

const told = (one) => one !== null && typeof one === "object" && !Array.isArray(one);

export function recall() {
  try {
    const state = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    if (told(state) && Array.isArray(state.panels) && state.panels.every(told) && [1, 2].includes(state.panels.length)) return state;
  } catch { /* no address of ours */ }
  return { panels: [{}] };
}

// Another address, typed or pasted into a page that is open, is another state.
addEventListener("hashchange", () => location.reload());
