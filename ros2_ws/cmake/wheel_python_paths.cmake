# Given to every package as CMAKE_PROJECT_TOP_LEVEL_INCLUDES when ROS 2 comes from Python wheels (never for a ROS under
# /opt/ros). The targets exported by the wheels name the Python and NumPy include folders of the machine that built them,
# /opt/python/...; CMake refuses folders that do not exist. At the end of the package's CMakeLists this swaps them for the
# folders of the interpreter in use, so that no package has to know about wheels.
cmake_minimum_required(VERSION 3.24)

execute_process(
  COMMAND "${Python3_EXECUTABLE}" -c
    "import numpy, sysconfig; print(sysconfig.get_path('include'), numpy.get_include(), sep=';', end='')"
  OUTPUT_VARIABLE wheel_python_includes
  COMMAND_ERROR_IS_FATAL ANY
)

function(swap_wheel_python_includes directory)
  list(GET wheel_python_includes 0 python_include)
  list(GET wheel_python_includes 1 numpy_include)
  get_property(targets DIRECTORY "${directory}" PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(includes ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(includes MATCHES "/opt/python/")
      string(REGEX REPLACE "/opt/python/[^;]*/numpy/[^;]*include" "${numpy_include}" includes "${includes}")
      string(REGEX REPLACE "/opt/python/[^;]*/include/python[^;/]*" "${python_include}" includes "${includes}")
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${includes}")
    endif()
  endforeach()
  get_property(children DIRECTORY "${directory}" PROPERTY SUBDIRECTORIES)
  foreach(child IN LISTS children)
    swap_wheel_python_includes("${child}")
  endforeach()
endfunction()

cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL swap_wheel_python_includes "${CMAKE_SOURCE_DIR}")
