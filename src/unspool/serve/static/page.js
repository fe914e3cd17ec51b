// The script of the pages of `unspool serve`. Without it they work too: the server renders
// everything, and the forms are sent by GET.
import "./swap.js";
import "./total.js";
import "./preview.js";
import "./downloads.js";
import "./copy.js";
import "./keys.js";
import "./search.js";

document.documentElement.classList.add("js");
