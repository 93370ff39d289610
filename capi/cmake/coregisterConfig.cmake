# coregister::coregister is the shared library; coregister::static the static one, with what it needs of the system.

get_filename_component(_coregister_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET coregister::coregister)
  add_library(coregister::coregister SHARED IMPORTED)
  set_target_properties(coregister::coregister PROPERTIES
    IMPORTED_LOCATION "${_coregister_prefix}/lib/libcoregister${CMAKE_SHARED_LIBRARY_SUFFIX}"
    INTERFACE_INCLUDE_DIRECTORIES "${_coregister_prefix}/include")

  add_library(coregister::static STATIC IMPORTED)
  set_target_properties(coregister::static PROPERTIES
    IMPORTED_LOCATION "${_coregister_prefix}/lib/libcoregister.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_coregister_prefix}/include"
    INTERFACE_LINK_LIBRARIES "@SYSTEM_LIBRARIES_CMAKE@")
endif()

unset(_coregister_prefix)
