//! Tests of the renderer with the official programs come with the stories; here is what needs none.
