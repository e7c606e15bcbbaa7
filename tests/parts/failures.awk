# Lists what failed, of the XML that nextest writes in JUnit's form: each failed test with its name, and the first lines
# of what it said last, without a backtrace. Its only argument is the file, twice: the more tests failed, the less is
# told of each, so that all of it stays in sight.
#
# The writer begins a line with each element, and has text behind it as it is.

NR == FNR { failed += /^ *<(failure|error) /; next }

FNR == 1 {
    most = int(IN_SIGHT / (failed ? failed : 1)) - 1
    most = most < FEWEST ? FEWEST : most > MOST ? MOST : most
}

/^ *<testcase / { name = attribute("classname") " " attribute("name") }

/^ *<(failure|error) / {
    print name ": " attribute("type")
    left = most
    sub(/^[^>]*>/, "")
}

left > 0 {
    ends = sub(/<\/(failure|error)>.*/, "") + sub(/^(stack backtrace:|note: run with).*/, "")
    sub(/^thread .* panicked at /, "panicked at ")
    if ($0 != "") {
        print "    " substr(plain($0), 1, WIDEST)
        left--
    }
    if (ends) left = 0
}

# The value of an attribute of the element on this line.
function attribute(key,    begins, rest) {
    begins = index($0, " " key "=\"")
    rest = substr($0, begins + length(key) + 3)
    return begins ? plain(substr(rest, 1, index(rest, "\"") - 1)) : ""
}

function plain(text) {
    gsub(/&lt;/, "<", text)
    gsub(/&gt;/, ">", text)
    gsub(/&quot;/, "\"", text)
    gsub(/&apos;/, "'", text)
    gsub(/&amp;/, "\\&", text)
    return text
}

BEGIN { IN_SIGHT = 36; MOST = 12; FEWEST = 2; WIDEST = 240 }
