"""Making pictures: what is asked, given and watched on the way, and what judges say of what came of it."""
