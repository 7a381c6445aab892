# Run at a build: writes OUTPUT, a C++ source that holds the report's page as bytes: page.html and
# page.css of FOLDER, and its SCRIPTS (with commas between them) one behind the other.
set(text "#include \"launch/report/page.h\"\n\nnamespace switchyard {\n\n")
string(REPLACE "," ";" SCRIPTS "${SCRIPTS}")
set(html page.html)
set(css page.css)
set(js ${SCRIPTS})
foreach(name html css js)
  set(bytes "")
  foreach(file ${${name}})
    file(READ ${FOLDER}/${file} more HEX)
    string(APPEND bytes "${more}")
  endforeach()
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
  string(APPEND text "static constexpr char ${name}_bytes[] = {${bytes}};\n"
                     "const std::string_view page_${name}(${name}_bytes, sizeof ${name}_bytes);\n\n")
endforeach()
file(WRITE ${OUTPUT} "${text}}  // namespace switchyard\n")
