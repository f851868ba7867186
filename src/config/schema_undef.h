/* schema_undef.h: forgets the macros of one use of schema.def. No include guard on purpose. */
#undef SECTION
#undef INT
#undef SECS
#undef SIZE
#undef BOOL
#undef STR
#undef STRS
#undef ENUM
#undef PARAMS
#undef SUB
#undef SUBF
#undef MAPOF
#undef CUSTOM
